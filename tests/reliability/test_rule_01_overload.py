"""Rule 1: bounded in flight and waiting; beyond it 429 with a Retry-After from the measured drain rate."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from tests.api.stage import FINISH, SEGMENT, Cast, on_air, on_stage

from rsagent.policy.fake import ScriptedPolicy

LIMITS: dict[str, Any] = {"limits": {"inflight": 4, "queue": 4}}


async def test_four_times_the_capacity_gets_answers_or_429_at_once() -> None:
    policy = ScriptedPolicy([SEGMENT, FINISH], delay=0.5)
    async with on_air(Cast(policy=policy, settings=LIMITS)) as stage:
        done: list[int] = []

        async def client() -> None:
            done.append((await stage.post()).status_code)

        await asyncio.gather(*(client() for _ in range(32)))
        await stage.quiet()
        assert Counter(done) == {200: 8, 429: 24}
        assert done[:24] == [429] * 24, "no refusal waits for an answer"
        assert stage.house.gate.running == stage.house.gate.waiting == 0
        assert stage.metric("requests_total", outcome="overloaded") == 24


async def test_retry_after_follows_the_measured_drain_rate() -> None:
    policy = ScriptedPolicy([SEGMENT, FINISH], delay=0.75)
    async with on_stage(Cast(policy=policy, settings={"limits": {"inflight": 1, "queue": 3}})) as stage:
        for _ in range(2):  # four requests of 1.5 s, one after the other, and one too many
            *served, refused = await asyncio.gather(*(stage.post() for _ in range(5)))
        assert [answer.status_code for answer in served] == [200] * 4
        assert stage.house.gate.retry_after() == 2, "nobody waits now: the next place is 1.5 s away"
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) in (6, 7), "four departures at 1.5 s each"
