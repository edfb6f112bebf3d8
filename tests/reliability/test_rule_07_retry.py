"""Rule 7: only segmenter calls are made again: once, with jitter, inside the deadline, within a budget."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from typing import Any

from tests.api.stage import FINISH, SEGMENT, Cast, on_stage
from tests.resilience.test_engines import Flaky

from rsagent.errors import PolicyError, SegmenterError
from rsagent.policy.fake import ScriptedPolicy
from rsagent.segmenter.fake import FakeSegmenter
from rsagent.segmenter.protocol import SegmentResult

QUICK: dict[str, Any] = {
    "resilience": {"breaker": {"failures": 10_000}},
    "limits": {"inflight": 8, "queue": 400, "queue_timeout": 300},
}


class TwoReplicas(FakeSegmenter):
    """Calls alternate between two; every fortieth call, one dies. What was under way there fails; what is asked
    afterwards goes to the other."""

    def __init__(self) -> None:
        super().__init__(delay=0.01)
        self.deaths = 0

    async def segment(self, *arguments: Any, **named: Any) -> SegmentResult:
        deaths, replica = self.deaths, self.calls % 2
        answer = await super().segment(*arguments, **named)
        if self.calls // 40 > self.deaths:
            self.deaths += 1
        if self.deaths > deaths and replica == 0:
            raise SegmenterError("the replica died")
        return answer


async def test_with_one_of_two_replicas_killed_99_percent_succeed_at_amplification_1_2() -> None:
    inner = TwoReplicas()
    async with on_stage(Cast(segmenter=inner, settings=QUICK)) as stage:
        answers = await asyncio.gather(*(stage.post() for _ in range(100)))
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses[200] >= 99, statuses
    assert inner.deaths == 2
    assert inner.calls / 100 <= 1.2


async def test_a_segmenter_that_is_down_altogether_is_hardly_asked_more_often() -> None:
    inner = Flaky(lambda call: True)
    async with on_stage(Cast(segmenter=inner, settings=QUICK)) as stage:
        answers = await asyncio.gather(*(stage.post() for _ in range(100)))
    assert {answer.json()["code"] for answer in answers} == {"segmenter_error"}
    reserve = 10
    assert inner.calls <= 100 * 1.2 + reserve


async def test_a_failed_policy_is_not_asked_again() -> None:
    policy = ScriptedPolicy([SEGMENT, FINISH], failure=PolicyError("gone"))
    async with on_stage(Cast(policy=policy)) as stage:
        assert (await stage.post()).json()["code"] == "policy_error"
    assert policy.started == 1


async def test_second_calls_are_spread() -> None:
    """A crowd whose calls fail together does not come back together."""
    counter = itertools.count(1)
    inner = Flaky(lambda call: next(counter) <= 8)
    times: list[float] = []
    plain = inner.segment

    async def timed(*arguments: Any, **named: Any) -> Any:
        times.append(asyncio.get_running_loop().time())
        return await plain(*arguments, **named)

    inner.segment = timed  # type: ignore[method-assign]
    settings = {**QUICK, "resilience": {"retry": {"jitter": 0.5}, "breaker": {"failures": 100}}}
    async with on_stage(Cast(segmenter=inner, settings=settings)) as stage:
        await asyncio.gather(*(stage.post() for _ in range(8)))
    seconds = sorted(times)[8:]
    assert max(seconds) - min(seconds) > 0.05
