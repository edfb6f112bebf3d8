"""Rule 3: one absolute deadline a request; whatever it waits for ends with it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.api.stage import FINISH, SEGMENT, Cast, on_stage

from rsagent.deadline import Deadline
from rsagent.policy.fake import ScriptedPolicy
from rsagent.segmenter.fake import FakeSegmenter
from rsagent.segmenter.protocol import SegmentResult


class Noting(FakeSegmenter):
    """Keeps the deadlines it was given."""

    deadlines: list[Deadline]

    async def segment(self, *arguments: Any, **named: Any) -> SegmentResult:
        self.deadlines = [*getattr(self, "deadlines", []), arguments[3]]
        return await super().segment(*arguments, **named)


class NotingPolicy(ScriptedPolicy):
    """Keeps the deadlines it was given."""

    deadlines: list[Deadline]

    def act(self, history: Any, sampling: Any, deadline: Deadline) -> Any:
        self.deadlines = [*getattr(self, "deadlines", []), deadline]
        return super().act(history, sampling, deadline)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("slow", ["segmenter", "policy"])
async def test_a_slow_engine_ends_with_timeout_within_half_a_second(stream: bool, slow: str) -> None:
    segmenter = FakeSegmenter(delay=60 if slow == "segmenter" else 0)
    policy = ScriptedPolicy([SEGMENT, FINISH], delay=60 if slow == "policy" else 0)
    async with on_stage(Cast(policy=policy, segmenter=segmenter)) as stage:
        started = asyncio.get_running_loop().time()
        answer = await stage.post(stream=stream, deadline_ms="1000")
        took = asyncio.get_running_loop().time() - started
        await stage.quiet()
        assert stage.metric("requests_total", outcome="timeout") == 1
    assert took < 1.5
    assert '"code":"timeout"' in answer.text


async def test_every_engine_is_told_the_requests_own_deadline() -> None:
    segmenter, policy = Noting(), NotingPolicy([SEGMENT, FINISH])
    async with on_stage(Cast(policy=policy, segmenter=segmenter)) as stage:
        await stage.post(deadline_ms="20000")
    told = {deadline.at for deadline in (*segmenter.deadlines, *policy.deadlines)}
    assert len(told) == 1, "one for all turns and both engines"


async def test_the_wait_for_a_place_counts() -> None:
    policy = ScriptedPolicy([SEGMENT, FINISH], delay=0.4)
    async with on_stage(Cast(policy=policy, settings={"limits": {"inflight": 1}})) as stage:
        _, late = await asyncio.gather(stage.post(), stage.post(deadline_ms="500"))
    assert late.json()["code"] == "timeout"
