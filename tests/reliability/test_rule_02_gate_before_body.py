"""Rule 2: the gate stands before the body: who is refused has nothing read and nothing decoded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.api.stage import FINISH, SEGMENT, Cast, on_air, on_stage

from rsagent import imaging
from rsagent.policy.fake import ScriptedPolicy

SIZE = 10_000_000
HEAD = (
    f"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\n"
    f"Content-Length: {SIZE}\r\nConnection: close\r\n\r\n"
).encode()


async def test_five_hundred_refused_uploads_decode_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = 0

    def counted(*arguments: Any) -> Any:
        nonlocal decoded
        decoded += 1

    async with on_air(
        Cast(policy=ScriptedPolicy([SEGMENT, FINISH], delay=120), settings={"limits": {"inflight": 1, "queue": 0}})
    ) as stage:
        holder = asyncio.create_task(stage.post())
        async with asyncio.timeout(10):
            while not stage.policy.running:
                await asyncio.sleep(0.01)
        monkeypatch.setattr(imaging, "decode", counted)
        host, port = stage.url.removeprefix("http://").split(":")

        async def upload() -> bytes:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(HEAD + bytes(100_000))  # of ten million that it would send
            status = await reader.readline()
            writer.close()
            return status

        for _ in range(10):
            assert set(await asyncio.gather(*(upload() for _ in range(50)))) == {b"HTTP/1.1 429 Too Many Requests\r\n"}
        holder.cancel()
        await stage.quiet()
        assert stage.metric("rejected_total", reason="full") == 500
    assert decoded == 0


async def test_a_refusal_takes_not_one_message_of_the_body() -> None:
    received = 0
    sent: list[Any] = []

    async def receive() -> Any:
        nonlocal received
        received += 1
        return {"type": "http.request", "body": bytes(1000), "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    async with on_stage(Cast(settings={"limits": {"inflight": 1, "queue": 0}})) as stage, stage.house.gate.permit():
        scope = {"type": "http", "method": "POST", "path": "/v1/segment", "headers": [], "query_string": b""}
        await stage.app(scope, receive, send)
    assert sent[0]["status"] == 429
    assert received == 0
