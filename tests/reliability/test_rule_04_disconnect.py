"""Rule 4: a disconnect frees everything: generations, segmenter calls, permits, places in the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.api.stage import FINISH, PNG, SEGMENT, Cast, Stage, on_air

from rsagent.policy.fake import ScriptedPolicy
from rsagent.segmenter.fake import FakeSegmenter

FORM: dict[str, Any] = {"data": {"query": "x"}, "files": {"image": ("p", PNG)}}
CLIENTS = 30


async def leave_midway(stage: Stage, number: int, when: Callable[[], bool], key: str | None = None) -> None:
    headers = {"Accept": "text/event-stream" if number % 2 else "application/json"}
    if key is not None:
        headers["Idempotency-Key"] = key
    request = asyncio.create_task(stage.client.post("/v1/segment", headers=headers, **FORM))
    async with asyncio.timeout(20):
        while not when():
            await asyncio.sleep(0.01)
    request.cancel()
    with suppress(asyncio.CancelledError):
        await request


async def test_clients_killed_mid_turn_leave_nothing_after_two_seconds() -> None:
    policy = ScriptedPolicy([SEGMENT, FINISH], piece=1, piece_delay=0.002)
    cast = Cast(
        policy=policy, segmenter=FakeSegmenter(delay=60), settings={"limits": {"inflight": CLIENTS // 2, "queue": 100}}
    )
    async with on_air(cast) as stage:
        gate = stage.house.gate
        for round_ in range(3):

            def busy() -> bool:
                working = stage.segmenter.running == CLIENTS // 2 or stage.policy.running == CLIENTS // 2
                return working and gate.waiting == CLIENTS // 2

            await asyncio.gather(*(leave_midway(stage, number, busy) for number in range(CLIENTS)))
            await stage.quiet(2)
            assert (gate.running, gate.waiting, policy.running, stage.segmenter.running) == (0, 0, 0, 0)
            assert stage.metric("cancelled_total") == (round_ + 1) * CLIENTS
        assert stage.metric("inflight") == stage.metric("queue_depth") == 0


async def test_who_leaves_the_queue_gives_up_the_place_at_once() -> None:
    policy = ScriptedPolicy([SEGMENT, FINISH], delay=60)
    async with on_air(Cast(policy=policy, settings={"limits": {"inflight": 1, "queue": 1}})) as stage:
        gate = stage.house.gate
        inside = asyncio.create_task(leave_midway(stage, 0, lambda: gate.running == 2))  # stays
        async with asyncio.timeout(10):
            while not policy.running:
                await asyncio.sleep(0.01)
        await leave_midway(stage, 1, lambda: gate.waiting == 1)
        async with asyncio.timeout(2):
            while gate.waiting:
                await asyncio.sleep(0.01)
        assert gate.running == 1
        inside.cancel()
        await asyncio.gather(inside, return_exceptions=True)


async def test_a_request_with_a_key_runs_on_for_its_grace_and_no_longer() -> None:
    policy = ScriptedPolicy([SEGMENT, FINISH], delay=60)
    async with on_air(Cast(policy=policy, settings={"idempotency": {"orphan": 0.3}})) as stage:
        await leave_midway(stage, 1, lambda: stage.policy.running == 1, key="k")
        await asyncio.sleep(0.05)
        assert stage.house.gate.running == policy.running == 1
        await stage.quiet(2)
        assert stage.metric("requests_total", outcome="cancelled") == 1
