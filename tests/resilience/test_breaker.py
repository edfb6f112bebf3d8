"""A failing engine is given a rest, and found again without a request being spent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from rsagent.deadline import Deadline
from rsagent.errors import ContextOverflow, DeadlineExceeded, Overloaded, PolicyError, RSAgentError, Unavailable
from rsagent.resilience.breaker import Breaker, BreakerState
from rsagent.resilience.settings import BreakerSettings

FAST = BreakerSettings(failures=3, cooldown=0.02, longest=0.04)


class Engine:
    """Something to look at."""

    def __init__(self) -> None:
        self.back = False
        self.looks = 0

    async def ready(self) -> bool:
        self.looks += 1
        return self.back


@pytest.fixture
async def engine() -> Engine:
    return Engine()


@pytest.fixture
async def breaker(engine: Engine) -> AsyncIterator[Breaker]:
    breaker = Breaker("engine", engine.ready, FAST)
    yield breaker
    await breaker.close()


def fail(breaker: Breaker, error: RSAgentError, times: int = 1, deadline: Deadline | None = None) -> None:
    for _ in range(times):
        with pytest.raises(type(error)), breaker.guard(deadline or Deadline.never()):
            raise error


async def reach(breaker: Breaker, state: BreakerState) -> None:
    async with asyncio.timeout(5):
        while breaker.state is not state:
            await asyncio.sleep(0.005)


async def test_failures_in_a_row_open_it_and_it_says_when_to_come_back(breaker: Breaker) -> None:
    fail(breaker, PolicyError("gone"), 2)
    breaker.succeeded()
    fail(breaker, PolicyError("gone"), 2)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker, PolicyError("gone"))
    with pytest.raises(Unavailable, match="the engine is down") as refusal:
        breaker.check()
    assert refusal.value.retry_after == FAST.cooldown


@pytest.mark.parametrize("error", [Overloaded("full"), ContextOverflow("long"), DeadlineExceeded("late")])
async def test_what_is_no_fault_of_the_engine_does_not_count(breaker: Breaker, error: RSAgentError) -> None:
    fail(breaker, error, 10, Deadline.after(0))
    assert breaker.state is BreakerState.CLOSED


async def test_silence_before_the_deadline_is_a_fault(breaker: Breaker) -> None:
    fail(breaker, DeadlineExceeded("silent"), 3, Deadline.after(60))
    assert breaker.state is BreakerState.OPEN


async def test_it_looks_until_the_engine_is_back_and_one_success_closes_it(breaker: Breaker, engine: Engine) -> None:
    fail(breaker, PolicyError("gone"), 3)
    await asyncio.sleep(0.1)
    assert engine.looks >= 2
    with pytest.raises(Unavailable):
        breaker.check()
    engine.back = True
    await reach(breaker, BreakerState.TRIAL)
    breaker.check()
    breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED


async def test_one_failure_on_trial_opens_it_again(breaker: Breaker, engine: Engine) -> None:
    fail(breaker, PolicyError("gone"), 3)
    engine.back = True
    await reach(breaker, BreakerState.TRIAL)
    engine.back = False
    fail(breaker, PolicyError("gone"))
    assert breaker.state is BreakerState.OPEN


async def test_a_look_that_fails_is_no_return() -> None:
    async def broken() -> bool:
        raise ZeroDivisionError

    breaker = Breaker("engine", broken, FAST)
    fail(breaker, PolicyError("gone"), 3)
    await asyncio.sleep(0.05)
    assert breaker.state is BreakerState.OPEN
    await breaker.close()
