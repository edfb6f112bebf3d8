"""A valid call being served: its answer as one document, or its story as events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from pydantic import BaseModel

from rsagent.agent import given
from rsagent.agent.events import Ended, Event, FrameOpened, MaskProposed
from rsagent.agent.state import Budget, EpisodeResult
from rsagent.api import answers, starting, telling
from rsagent.api.bodies import Call
from rsagent.api.house import Visit
from rsagent.api.problems import CANCELLED, problem_of
from rsagent.api.requests import Include
from rsagent.api.stream import frame
from rsagent.api.waiting import unless
from rsagent.errors import RSAgentError
from rsagent.policy.protocol import ImagePart, Sampling


class Episode:
    """One call. Either `answer` it, or have its story told (`api.stream.Story`).

    Raises BadQuery when made of a call whose `start` cannot be played.
    """

    def __init__(self, visit: Visit, call: Call) -> None:
        self._visit = visit
        self._call = call
        self._service = visit.house.service
        limits, options = self._service.settings.limits, call.options
        self._start = starting.moves(options.start)
        self._budget = Budget(turns=(options.max_turns or limits.turns) + len(self._start))
        height, width = call.image.shape[:2]
        given.check(self._start, width, height, self._budget.points)
        self._setting = telling.Setting(visit.request_id, visit.arrived, visit.queue_ms, options)
        self._narrator = telling.Narrator(self._setting)
        self._seen: dict[int, ImagePart] = {}
        self._told = 0
        visit.until = visit.granted(options)

    async def answer(self) -> bytes:
        """The answer as JSON. Raises the error that the episode ended with, if it did."""
        async with aclosing(self._events()) as events:
            async for event in events:
                if isinstance(event, Ended):
                    self._conclude(event.result)
                    return await self.document(event.result)
        raise RSAgentError("the episode was torn down before it ended")

    async def document(self, result: EpisodeResult) -> bytes:
        """What JSON clients are told of an episode that came to an answer."""
        answer = await self._service.offload(
            lambda: telling.answer(result, self._setting, self._seen).model_dump_json()
        )
        return answer.encode()

    def fingerprint(self) -> str:
        """See `Call.fingerprint`."""
        return self._call.fingerprint()

    def opening(self) -> bytes:
        """The `accepted` event."""
        height, width = self._call.image.shape[:2]
        return self._frame(
            "accepted",
            answers.AcceptedEvent(
                id=self._visit.request_id,
                image=answers.ImageSize(width=width, height=height),
                query=self._call.query,
                max_turns=self._budget.turns,
                deadline_ms=round((self._visit.until.at - self._visit.arrived) * 1000),
            ),
        )

    async def play(self, put: Callable[[Event], Awaitable[None]]) -> None:
        """The episode's events, unless the service ends first."""
        await unless(self._play_into(put), self._visit.house.drain.cut_off())

    async def tell(self, event: Event) -> bytes:
        """An event's frames; `final` for the last one. Raises the error that the episode ended with, if it did."""
        if isinstance(event, Ended):
            self._conclude(event.result)
        if isinstance(event, Ended | MaskProposed | FrameOpened):  # masks and pictures are encoded
            return await self._service.offload(lambda: self._frames(event))
        return self._frames(event)

    def failed(self, error: Exception) -> bytes:
        """The `error` event."""
        problem = problem_of(error, self._visit.request_id)
        self._visit.outcome = problem.code
        return self._frame("error", problem)

    def abandoned(self) -> None:
        """The client went away."""
        self._visit.outcome = CANCELLED

    def _conclude(self, result: EpisodeResult) -> None:
        failure = telling.failure_of(result)
        if failure is not None:
            raise failure
        self._visit.outcome = result.status

    def _frames(self, event: Event) -> bytes:
        frames = [self._frame(name, document) for name, document in self._narrator.tell(event)]
        if isinstance(event, Ended):
            frames.append(self._frame("final", telling.answer(event.result, self._setting, {}, self._narrator.objects)))
        return b"".join(frames)

    def _frame(self, name: str, document: BaseModel) -> bytes:
        self._told += 1
        return frame(self._told, name, document.model_dump_json())

    async def _play_into(self, put: Callable[[Event], Awaitable[None]]) -> None:
        async with aclosing(self._events()) as events:
            async for event in events:
                await put(event)

    async def _events(self) -> AsyncGenerator[Event, None]:
        """The events; the pictures that followed the turns are kept if the answer is to show them."""
        async with aclosing(self._played()) as events:
            async for event in events:
                if self._setting.includes(Include.OVERLAYS) and isinstance(event, MaskProposed | FrameOpened):
                    self._seen[event.turn.index] = event.overlay if isinstance(event, MaskProposed) else event.view
                yield event

    def _played(self) -> AsyncGenerator[Event, None]:
        options = self._call.options
        return self._service.play(
            self._call.image,
            self._call.query,
            budget=self._budget,
            deadline=self._visit.until,
            sampling=Sampling(temperature=options.temperature, seed=options.seed),
            start=self._start,
            arrived=self._visit.arrived,
        )
