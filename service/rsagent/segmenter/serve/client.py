"""The segmenter whose models run elsewhere: ids first, pixels when asked for.

A call whose replica dies fails as `ReplicaLost`; whether it is made again is the guard's to say, which has the budget
for that (`resilience.engines`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Protocol

from rsagent.deadline import Deadline
from rsagent.errors import EngineError, SegmenterError
from rsagent.segmenter.calls import Calls
from rsagent.segmenter.protocol import Image, ImageId, Prompt, SegmentResult
from rsagent.segmenter.serve.wire import Answer, Ask, NeedImage, Refused, Standing
from rsagent.segmenter.serve.wire import Reply as Reply


class Replicas(Protocol):
    """Where calls go."""

    async def ask(self, ask: Ask, image: Image | None = None) -> Reply:
        """Ask the replica that the image belongs to. Cancelling withdraws the call.

        Raises ReplicaLost where the replica died with it, Overloaded where none takes it, SegmenterError otherwise.
        """
        ...

    async def standing(self) -> Standing:
        """What some replica says of itself. Raises as `ask`."""
        ...


class RemoteSegmenter:
    """See `Segmenter`. `variant` is what the replicas said they run; `ended` is called, off the event loop, when the
    last call is over.

    `images_sent` counts pictures that went over.
    """

    def __init__(self, replicas: Replicas, variant: str, ended: Callable[[], None] = lambda: None) -> None:
        self._replicas = replicas
        self._variant = variant
        self._ended = ended
        self._calls = Calls()
        self.images_sent = 0

    @property
    def variant(self) -> str:
        return self._variant

    async def segment(
        self,
        image_id: ImageId,
        image: Image | Callable[[], Image],
        prompt: Prompt,
        deadline: Deadline | None = None,
    ) -> SegmentResult:
        """See `Segmenter.segment`."""
        deadline = deadline or Deadline.never()
        async with self._calls.one(deadline):
            answer = await self._answer(image_id, image, prompt, deadline)
            return await asyncio.to_thread(answer.result)

    async def ready(self) -> bool:
        """Whether a replica says that it takes prompts. One that has just died is looked past once."""
        if self._calls.closed:
            return False
        for _ in range(2):
            try:
                return (await self._replicas.standing()).ready
            except EngineError:
                continue
        return False

    async def close(self) -> None:
        """See `Segmenter.close`."""
        if await self._calls.close():
            await asyncio.to_thread(self._ended)

    async def _answer(
        self, image_id: ImageId, image: Image | Callable[[], Image], prompt: Prompt, deadline: Deadline
    ) -> Answer:
        reply = await self._replicas.ask(_ask(image_id, prompt, deadline))
        if isinstance(reply, NeedImage):
            pixels = await asyncio.to_thread(image) if callable(image) else image
            self.images_sent += 1
            reply = await self._replicas.ask(_ask(image_id, prompt, deadline), pixels)
        match reply:
            case Answer():
                return reply
            case Refused(error):
                raise error
            case NeedImage():
                raise SegmenterError("the segmenter lost the picture that it was sent")


def _ask(image_id: ImageId, prompt: Prompt, deadline: Deadline) -> Ask:
    remaining = deadline.remaining()
    return Ask(image_id, prompt, None if math.isinf(remaining) else remaining)
