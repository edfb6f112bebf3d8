"""The guarded engines: which calls are made once more, and what a turn's end means to the breaker."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest
from tests.api.stage import FINISH

from rsagent.deadline import Deadline
from rsagent.errors import Overloaded, RSAgentError, SegmenterError
from rsagent.policy.fake import ScriptedPolicy
from rsagent.policy.protocol import Message, PolicyTurn, Sampling
from rsagent.resilience.engines import GuardedPolicy, GuardedSegmenter, RetryBudget
from rsagent.resilience.settings import BreakerSettings, RetrySettings
from rsagent.segmenter.fake import FakeSegmenter
from rsagent.segmenter.protocol import Prompt, SegmentResult

IMAGE = np.zeros((8, 8, 3), dtype=np.uint8)
PATIENT = BreakerSettings(failures=1000)


class Flaky(FakeSegmenter):
    """Fails on the calls that `fails` names by their number."""

    def __init__(self, fails: Any, error: RSAgentError | None = None) -> None:
        super().__init__()
        self.fails = fails
        self.error = error or SegmenterError("the replica died")

    async def segment(self, *arguments: Any, **named: Any) -> SegmentResult:
        answer = await super().segment(*arguments, **named)
        if self.fails(self.calls):
            raise self.error
        return answer


def guarded(segmenter: FakeSegmenter, **retry: Any) -> GuardedSegmenter:
    return GuardedSegmenter(segmenter, PATIENT, RetrySettings(**{"jitter": 0.0, **retry}))


async def ask(segmenter: GuardedSegmenter, deadline: Deadline | None = None) -> SegmentResult:
    return await segmenter.segment("id", IMAGE, Prompt(box=(0, 0, 4, 4)), deadline)


async def test_a_call_that_fails_once_is_made_once_more() -> None:
    inner = Flaky(lambda call: call == 1)
    segmenter = guarded(inner)
    assert (await ask(segmenter)).best.mask.any()
    assert (inner.calls, segmenter.retries) == (2, 1)


async def test_a_call_that_fails_twice_has_failed() -> None:
    inner = Flaky(lambda call: True)
    with pytest.raises(SegmenterError):
        await ask(guarded(inner))
    assert inner.calls == 2


@pytest.mark.parametrize("error", [Overloaded("full")])
async def test_an_overloaded_segmenter_is_not_asked_twice(error: RSAgentError) -> None:
    inner = Flaky(lambda call: True, error)
    with pytest.raises(type(error)):
        await ask(guarded(inner))
    assert inner.calls == 1


async def test_there_is_no_second_call_after_the_deadline() -> None:
    inner = Flaky(lambda call: True)
    inner.delay = 0.05
    with pytest.raises(SegmenterError):
        await ask(guarded(inner), Deadline.after(0.01))
    assert inner.calls == 1


async def test_retries_can_be_turned_off() -> None:
    inner = Flaky(lambda call: True)
    with pytest.raises(SegmenterError):
        await ask(guarded(inner, enabled=False))
    assert inner.calls == 1


def test_the_budget_is_a_share_of_the_first_calls() -> None:
    budget = RetryBudget(0.2, 5)
    assert sum(budget.spend() for _ in range(10)) == 5
    spent = 0
    for _ in range(100):
        budget.earn()
        spent += budget.spend()
    assert 19 <= spent <= 20


async def test_a_caller_who_leaves_in_the_pause_leaves_nothing() -> None:
    segmenter = guarded(Flaky(lambda call: True), jitter=60.0)
    asking = asyncio.create_task(ask(segmenter))
    await asyncio.sleep(0.02)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert segmenter.inner.running == 0  # type: ignore[attr-defined]


async def test_a_whole_turn_is_a_success_though_its_reader_stops_there() -> None:
    policy = GuardedPolicy(ScriptedPolicy([FINISH]), BreakerSettings(failures=1))
    policy.breaker._failures = 1
    history = (Message.of("user", "x"),)
    async with aclosing(policy.act(history, Sampling(), Deadline.never())) as turn:
        async for piece in turn:
            if isinstance(piece, PolicyTurn):
                break
    assert policy.breaker._failures == 0
    assert (policy.name, policy.dialect) == ("scripted", "nano")
    await policy.close()
    assert not await policy.ready()
