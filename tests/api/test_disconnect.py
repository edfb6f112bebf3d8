"""Clients that go away, on the shipped server: everything they held is freed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from tests.api.stage import PNG, SEGMENT, Cast, Stage, call, on_air

from rsagent.policy.fake import ScriptedPolicy
from rsagent.policy.protocol import History
from rsagent.segmenter.fake import FakeSegmenter

FORM: dict[str, Any] = {"data": {"query": "x"}, "files": {"image": ("p", PNG)}}


def thinking() -> ScriptedPolicy:
    return ScriptedPolicy([SEGMENT], piece=1, piece_delay=0.05)


async def send_and_leave(stage: Stage, stream: bool, when: Callable[[], bool]) -> None:
    """Post, and hang up as soon as `when` holds."""
    headers = {"Accept": "text/event-stream" if stream else "application/json"}
    request = asyncio.create_task(stage.client.post("/v1/segment", headers=headers, **FORM))
    async with asyncio.timeout(5):
        while not when():
            await asyncio.sleep(0.005)
    request.cancel()
    with suppress(asyncio.CancelledError):
        await request


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_while_the_policy_thinks_ends_the_generation(stream: bool) -> None:
    async with on_air(Cast(policy=thinking())) as stage:
        await send_and_leave(stage, stream, lambda: stage.policy.running == 1)
        await stage.quiet()
        assert stage.policy.cancelled == 1
        assert stage.metric("cancelled_total") == stage.metric("requests_total", outcome="cancelled") == 1
        assert stage.metric("stop_total", reason="cancelled") == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_while_the_segmenter_works_withdraws_the_call(stream: bool) -> None:
    async with on_air(Cast(segmenter=FakeSegmenter(delay=30))) as stage:
        await send_and_leave(stage, stream, lambda: stage.segmenter.running == 1)
        await stage.quiet()


async def test_many_who_leave_hold_nothing() -> None:
    settings = {"limits": {"inflight": 4, "queue": 100}}
    async with on_air(Cast(policy=thinking(), settings=settings)) as stage:

        def crowded() -> bool:
            return stage.house.gate.running == 4 and stage.house.gate.waiting == 36

        await asyncio.gather(*(send_and_leave(stage, bool(i % 2), crowded) for i in range(40)))
        await stage.quiet()
        assert stage.house.gate.waiting == 0
        assert stage.metric("queue_depth") == stage.metric("inflight") == 0
        assert stage.metric("cancelled_total") == 40


def talkative(history: History) -> str:
    """A long thought, told character by character: about a megabyte of events a turn."""
    box = [len(history), len(history), 900, 900]
    return "<think>" + "word " * 2000 + call("segment", bbox_2d=box).removeprefix("<think>")


async def test_a_reader_that_takes_nothing_is_dropped() -> None:
    policy = ScriptedPolicy(talkative, piece=1)
    settings = {"server": {"send_timeout": 0.3}, "limits": {"max_turns": 500}}
    async with on_air(Cast(policy=policy, settings=settings)) as stage:
        stage.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        form: Any = {"data": {"query": "x", "max_turns": "500"}, "files": {"image": ("p", PNG)}}
        request = stage.client.build_request("POST", "/v1/segment", headers={"Accept": "text/event-stream"}, **form)
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        host, port = stage.url.removeprefix("http://").split(":")
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect((host, int(port)))
            deaf.sendall(f"POST /v1/segment HTTP/1.1\r\n{head}\r\n".encode() + await request.aread())
            async with asyncio.timeout(15):
                while not stage.metric("cancelled_total"):
                    await asyncio.sleep(0.02)
            await stage.quiet()
            assert policy.started < 5
