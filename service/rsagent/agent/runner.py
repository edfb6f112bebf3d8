"""The loop that drives an episode between a policy and a segmenter, and streams what happens.

It adds to the episode only what has to do with time: the deadline, cancellation, and keeping the event loop free of
image work. Closing the iterator, or cancelling the task that reads it, closes the policy's stream and the
segmenter's call; nothing is left running.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rsagent.agent import dialects
from rsagent.agent.dialects import Reading
from rsagent.agent.episode import Outcome, begin, conclude, prompt_of, step
from rsagent.agent.events import ActionTaken, Ended, Event, ThoughtDelta
from rsagent.agent.given import Given, as_turn
from rsagent.agent.state import Budget, EpisodeState, StopReason, Task, Timings, Turn
from rsagent.deadline import Deadline
from rsagent.errors import ContextOverflow, DeadlineExceeded, EngineError, PolicyError
from rsagent.observing.tracing import span
from rsagent.policy.protocol import Policy, PolicyTurn, Sampling, TextDelta
from rsagent.segmenter.protocol import Prompt, Segmenter, SegmentResult, image_id

T = TypeVar("T")


class Runner:
    """Plays episodes. It keeps nothing between them and may play any number at once.

    `workers` runs image work (hashing, rendering); None uses asyncio's default pool.
    """

    def __init__(self, policy: Policy, segmenter: Segmenter, *, workers: Executor | None = None) -> None:
        self.policy = policy
        self.segmenter = segmenter
        self.dialect = dialects.get(policy.dialect)
        self._workers = workers

    async def play(
        self,
        image: NDArray[np.uint8],
        query: str,
        *,
        budget: Budget = Budget(),
        deadline: Deadline,
        sampling: Sampling = Sampling(),
        start: Sequence[Given] = (),
    ) -> AsyncGenerator[Event, None]:
        """One episode over `image` (uint8 [H, W, 3] RGB), as events; the last one is `Ended`.

        `start` holds moves to be made before the policy's first, already found possible (`given.check`).
        A passed deadline, a full context and a failed engine end it with their stop reason and the error in the
        result. Overloaded
        and ShuttingDown are raised: the request was not served and may be sent again.
        """
        state = await self._offload(lambda: self._begin(image, query, budget))
        async with aclosing(self.go_on(state, deadline=deadline, sampling=sampling, start=start)) as events:
            async for event in events:
                yield event

    async def go_on(
        self,
        state: EpisodeState,
        *,
        deadline: Deadline,
        sampling: Sampling = Sampling(),
        start: Sequence[Given] = (),
    ) -> AsyncGenerator[Event, None]:
        """`play` from a state that has not ended, whoever made the moves that led to it."""
        sampling = replace(sampling, stop=self.dialect.stop)
        given = iter(start)
        try:
            while state.stop is None:
                move = next(given, None)
                turn = self._turn(state, sampling, deadline) if move is None else self._given(state, move, deadline)
                with span("turn", index=len(state.turns) + 1):
                    async with aclosing(turn) as happenings:
                        async for happening in happenings:
                            if isinstance(happening, EpisodeState):
                                state = happening
                            else:
                                yield happening
        except DeadlineExceeded as error:
            yield Ended(conclude(state, StopReason.DEADLINE, error))
        except ContextOverflow as error:
            yield Ended(conclude(state, StopReason.CONTEXT_BUDGET, error))
        except EngineError as error:
            yield Ended(conclude(state, StopReason.ENGINE_ERROR, error))
        else:
            yield Ended(conclude(state))

    def _begin(self, image: NDArray[np.uint8], query: str, budget: Budget) -> EpisodeState:
        return begin(Task(image, image_id(image), query, self.policy.view, budget), self.dialect)

    async def _turn(
        self, state: EpisodeState, sampling: Sampling, deadline: Deadline
    ) -> AsyncGenerator[Event | EpisodeState, None]:
        """The events of one turn, and last the state after it."""
        started, index = time.perf_counter(), len(state.turns) + 1
        reply = PolicyTurn("")
        with span("policy"):
            async with aclosing(self._reply(state, sampling, deadline)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, TextDelta):
                        yield ThoughtDelta(index, piece.text)
                    else:
                        reply = piece
        reading = self.dialect.parse(reply.text, state)
        async with aclosing(self._made(state, reply, reading, _ms_since(started), deadline)) as happenings:
            async for happening in happenings:
                yield happening

    def _given(
        self, state: EpisodeState, move: Given, deadline: Deadline
    ) -> AsyncGenerator[Event | EpisodeState, None]:
        """A turn that no policy chose."""
        return self._made(state, *as_turn(move, self.dialect, state), 0.0, deadline)

    async def _made(
        self, state: EpisodeState, reply: PolicyTurn, reading: Reading, thought_ms: float, deadline: Deadline
    ) -> AsyncGenerator[Event | EpisodeState, None]:
        """What follows a reply: its action and its outcome, and last the state after them."""
        taken = Timings(policy=thought_ms)
        index, thought, action = len(state.turns) + 1, reading.thought, reading.action
        yield ActionTaken(Turn(index, reply, thought, action, given=reading.given, timings=taken))
        started = time.perf_counter()
        answer = await self._answer(state, prompt_of(state, reading.action), deadline)
        timings = Timings(policy=thought_ms, segmenter=_ms_since(started))
        outcome = await self._offload(lambda: self._step(state, reply, reading, answer, timings))
        for event in outcome.events:
            yield event
        yield outcome.state

    async def _reply(
        self, state: EpisodeState, sampling: Sampling, deadline: Deadline
    ) -> AsyncGenerator[TextDelta | PolicyTurn, None]:
        """The policy's stream, held to the deadline and to its own contract."""
        complete = False
        async with aclosing(self.policy.act(state.history, sampling, deadline)) as stream:
            while not complete:
                piece = await _within(deadline, anext(stream, None))
                if piece is None:
                    raise PolicyError("the policy's stream ended in the middle of a turn")
                complete = isinstance(piece, PolicyTurn)
                yield piece

    async def _answer(self, state: EpisodeState, prompt: Prompt | None, deadline: Deadline) -> SegmentResult | None:
        if prompt is None:
            return None
        task = state.task
        with span("segmenter"):
            return await _within(deadline, self.segmenter.segment(task.image_id, task.image, prompt, deadline))

    def _step(
        self,
        state: EpisodeState,
        reply: PolicyTurn,
        reading: Reading,
        answer: SegmentResult | None,
        timings: Timings,
    ) -> Outcome:
        """`step`, with the time it took (all of it image work) written into the turn."""
        started = time.perf_counter()
        outcome = step(state, self.dialect, reply, reading, answer, timings)
        return outcome.timed(replace(timings, render=_ms_since(started)))

    async def _offload(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)


async def play_to_end(events: AsyncIterator[Event]) -> Ended:
    """The last event of an episode whose others nobody watches."""
    async for event in events:
        if isinstance(event, Ended):
            return event
    raise PolicyError("the episode was torn down before it ended")


async def _within(deadline: Deadline, work: Awaitable[T]) -> T:
    try:
        async with deadline.timeout():
            return await work
    except TimeoutError as error:
        raise DeadlineExceeded("the deadline passed; ask for fewer turns or a longer deadline_ms") from error


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
