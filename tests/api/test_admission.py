"""Load and limits at the door."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.api.stage import FINISH, PNG, SEGMENT, Cast, Stage, on_air, on_stage

from rsagent import imaging
from rsagent.policy.fake import ScriptedPolicy

SMALL: dict[str, Any] = {"limits": {"inflight": 2, "queue": 2}}


def slow(seconds: float) -> ScriptedPolicy:
    return ScriptedPolicy([SEGMENT, FINISH], delay=seconds)


async def test_a_burst_gets_answers_or_429_and_the_permits_come_back() -> None:
    async with on_air(Cast(policy=slow(0.05), settings=SMALL)) as stage:
        responses = await asyncio.gather(*(stage.post(stream=bool(i % 2)) for i in range(16)))
        await stage.quiet()
        assert stage.metric("rejected_total", reason="full") == 12
        assert stage.metric("requests_total", outcome="overloaded") == 12
        assert stage.metric("queue_depth") == stage.metric("inflight") == 0
    assert Counter(response.status_code for response in responses) == {200: 4, 429: 12}
    refused = next(response for response in responses if response.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json().items() >= {"code": "overloaded", "retryable": True}.items()
    assert refused.json()["retry_after"] == int(refused.headers["retry-after"])


async def test_refusals_come_before_the_body_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = 0
    decode = imaging.decode

    def counted(*arguments: Any) -> Any:
        nonlocal decoded
        decoded += 1
        return decode(*arguments)

    monkeypatch.setattr(imaging, "decode", counted)
    large = PNG + bytes(5_000_000)
    async with on_air(Cast(policy=slow(60), settings={"limits": {"inflight": 1, "queue": 0}})) as stage:
        holder = asyncio.create_task(stage.post())
        await _until_running(stage)
        responses = await asyncio.gather(*(stage.post(image=large) for _ in range(20)))
        holder.cancel()
        await stage.quiet()
    assert {response.status_code for response in responses} == {429}
    assert decoded == 1


async def _until_running(stage: Stage) -> None:
    async with asyncio.timeout(2):
        while not stage.policy.running:
            await asyncio.sleep(0.005)


async def test_who_waits_too_long_is_refused() -> None:
    settings = {"limits": {"inflight": 1, "queue": 1, "queue_timeout": 0.05}}
    async with on_stage(Cast(policy=slow(0.2), settings=settings)) as stage:
        first, second = await asyncio.gather(stage.post(), stage.post())
    assert (first.status_code, second.status_code) == (200, 429)


async def test_the_wait_is_part_of_the_answer_and_of_the_deadline() -> None:
    async with on_stage(Cast(policy=slow(0.1), settings={"limits": {"inflight": 1}})) as stage:
        _, waited, late = await asyncio.gather(stage.post(), stage.post(), stage.post(deadline_ms="50"))
    assert waited.json()["timings_ms"]["queue"] > 150
    assert waited.json()["timings_ms"]["total"] > 350
    assert (late.status_code, late.json()["code"]) == (504, "timeout")


async def test_a_chunked_body_is_counted_as_it_comes() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(2000):
            sent += 1
            yield bytes(10_000)
            await asyncio.sleep(0)

    async with on_air(Cast(settings={"limits": {"image": {"max_bytes": 100_000}}})) as stage:
        headers = {"Content-Type": "multipart/form-data; boundary=B"}
        response = await stage.client.post("/v1/segment", content=endless(), headers=headers)
        await stage.quiet()
    assert (response.status_code, response.json()["code"]) == (413, "too_large")
    assert "content-length" not in {name.lower() for name in response.request.headers}


async def test_a_declared_length_is_believed_when_it_is_too_large() -> None:
    async with on_air(Cast(settings={"limits": {"image": {"max_bytes": 100_000}}})) as stage:
        reader, writer = await asyncio.open_connection(*_address(stage))
        writer.write(
            b"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 999999999\r\nExpect: 100-continue\r\n\r\n"
        )
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        writer.close()
        await stage.quiet()
    assert head.startswith(b"HTTP/1.1 413 ")


async def test_a_body_that_never_comes_gives_its_permit_back() -> None:
    async with on_air(Cast(settings={"limits": {"upload_timeout": 0.1}})) as stage:
        reader, writer = await asyncio.open_connection(*_address(stage))
        writer.write(
            b"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        )
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        body = await asyncio.wait_for(reader.readuntil(b"}"), 10)
        writer.close()
        await stage.quiet()
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in head
    assert b'"code":"request_timeout"' in body


def _address(stage: Stage) -> tuple[str, int]:
    host, port = stage.url.removeprefix("http://").split(":")
    return host, int(port)
