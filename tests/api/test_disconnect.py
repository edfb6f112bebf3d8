"""Clients that go away, on the shipped server: everything they held is freed."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

import httpx
import pytest
from tests.api.stage import PNG, SEGMENT, Boxes, Cast, Stage, call, on_air

from rsagent.policy.fake import ScriptedPolicy

FORM: dict[str, Any] = {"data": {"query": "x"}, "files": {"image": ("p", PNG)}}


def thinking() -> ScriptedPolicy:
    return ScriptedPolicy([SEGMENT], piece=1, piece_delay=0.05)


async def send_and_leave(stage: Stage, stream: bool, after: float) -> None:
    headers = {"Accept": "text/event-stream" if stream else "application/json"}
    async with httpx.AsyncClient(base_url=stage.url) as client:
        with suppress(TimeoutError):
            async with asyncio.timeout(after):
                await client.post("/v1/segment", headers=headers, **FORM)


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_while_the_policy_thinks_ends_the_generation(stream: bool) -> None:
    async with on_air(Cast(policy=thinking())) as stage:
        await send_and_leave(stage, stream, after=0.3)
        await stage.quiet(1.0)
        assert stage.policy.cancelled == 1
        assert stage.metric("cancelled_total") == stage.metric("requests_total", outcome="cancelled") == 1
        assert stage.metric("stop_total", reason="cancelled") == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_while_the_segmenter_works_withdraws_the_call(stream: bool) -> None:
    async with on_air(Cast(segmenter=Boxes(delay=5))) as stage:
        await send_and_leave(stage, stream, after=0.3)
        await stage.quiet(1.0)


async def test_many_who_leave_hold_nothing() -> None:
    settings = {"limits": {"inflight": 4, "queue": 100}}
    async with on_air(Cast(policy=thinking(), settings=settings)) as stage:
        await asyncio.gather(*(send_and_leave(stage, bool(i % 2), after=0.1 + i * 0.005) for i in range(40)))
        await stage.quiet(3.0)
        assert stage.house.gate.waiting == 0
        assert stage.metric("queue_depth") == stage.metric("inflight") == 0
        finished = [call("report_no_target", reason="gone")]
        stage.policy._script, stage.policy._piece_delay = finished, 0.0
        assert (await stage.post()).json()["status"] == "no_target"


async def test_a_reader_that_takes_nothing_is_dropped() -> None:
    long = "<think>" + "word " * 40_000
    policy = ScriptedPolicy([long], piece=4096)
    settings = {"server": {"send_timeout": 0.3}, "limits": {"max_turns": 1000}}
    async with on_air(Cast(policy=policy, settings=settings)) as stage:
        request = stage.client.build_request(
            "POST", "/v1/segment", headers={"Accept": "text/event-stream"}, **_many_turns()
        )
        body = await request.aread()
        host, port = stage.url.removeprefix("http://").split(":")
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect((host, int(port)))
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        raw.sendall(f"POST /v1/segment HTTP/1.1\r\n{head}\r\n".encode() + body)
        async with asyncio.timeout(5):
            while not stage.metric("cancelled_total"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await stage.quiet()
        raw.close()


def _many_turns() -> dict[str, Any]:
    return {"data": {"query": "x", "max_turns": "1000"}, "files": {"image": ("p", PNG)}}
