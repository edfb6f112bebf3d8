"""Who answers: a runner in this process, or a service elsewhere. Both run the one loop of `rsagent.agent`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import numpy as np
from numpy.typing import NDArray

from rsagent.agent.runner import Runner, play_to_end
from rsagent.agent.state import Budget, EpisodeResult
from rsagent.api import telling
from rsagent.api.requests import Options
from rsagent.client import Answer as ClientAnswer
from rsagent.client import AsyncClient, Proposed, RequestFailed, TimedOut, Unreachable
from rsagent.deadline import Deadline
from rsagent.errors import Overloaded, RSAgentError
from rsagent.evaluation.attempt import Attempt, attempt_of
from rsagent.policy.protocol import Sampling
from rsagent.segmenter.protocol import Mask

Answer = Callable[[NDArray[np.uint8], str], Awaitable[Attempt]]
"""Answers a picture (uint8 [H, W, 3] RGB) and a sentence; it never sees the truth. It may raise RSAgentError: that
sample has no answer and scores nothing. `Halted` ends the whole evaluation."""

PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, None)
"""Seconds to wait for an engine whose queue is full, where it does not say how long; then no more."""
HOPELESS = frozenset({401, 403, 404})
"""What a service answers so to one request, it answers so to all."""


class Halted(RSAgentError):
    """No further sample could be answered; what was answered is kept."""

    code = "halted"


def playing(
    runner: Runner, budget: Budget = Budget(), *, sampling: Sampling = Sampling(), deadline: float = 120.0
) -> Answer:
    """Answers by `runner` in this process, `deadline` seconds each. An engine whose queue is full is waited for."""

    async def answer(image: NDArray[np.uint8], query: str) -> Attempt:
        for pause in PAUSES:
            started = time.perf_counter()
            events = runner.play(image, query, budget=budget, deadline=Deadline.after(deadline), sampling=sampling)
            try:
                result = (await play_to_end(events)).result
            except Overloaded as error:
                if pause is None:
                    raise
                await asyncio.sleep(error.retry_after or pause)
            else:
                return await asyncio.to_thread(told, result, time.perf_counter() - started)
        raise AssertionError("the last try returns or raises")

    return answer


def told(result: EpisodeResult, seconds: float = 0.0) -> Attempt:
    """An ended episode as an attempt: for those who play episodes themselves."""
    failure = telling.failure_of(result)
    document = telling.answer(result, telling.Setting("evaluation", time.monotonic(), 0.0, Options()), {})
    masks = {record.mask_id: record.mask for record in result.state.masks}
    return attempt_of(document, result.union, masks, seconds, None if failure is None else f"{failure.code}: {failure}")


def asking(client: AsyncClient, options: Options | None = None) -> Answer:
    """Answers by the service that `client` asks."""

    async def answer(image: NDArray[np.uint8], query: str) -> Attempt:
        started = time.perf_counter()
        masks: dict[int, Mask] = {}
        try:
            async with aclosing(client.stream(image, query, options=options)) as events:
                async for event in events:
                    if isinstance(event, Proposed):
                        masks[event.found.mask_id] = event.found.mask
                    elif isinstance(event, ClientAnswer):
                        return attempt_of(event.document, event.mask, masks, time.perf_counter() - started)
        except Unreachable as failure:
            raise Halted(str(failure)) from failure
        except RequestFailed as failure:
            foreign = failure.problem is None and not isinstance(failure, TimedOut)
            if foreign or (failure.problem is not None and failure.problem.status in HOPELESS):
                raise Halted(str(failure)) from failure
            raise
        raise AssertionError("a stream either ends with its answer or raises")

    return answer
