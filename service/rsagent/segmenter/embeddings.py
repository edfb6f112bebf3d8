"""Image embeddings, each made once: a cache bounded in bytes, with one flight for all who ask at the same time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from rsagent.segmenter.protocol import ImageId


class Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


E = TypeVar("E", bound=Sized)


@dataclass(eq=False)
class _Flight(Generic[E]):
    task: asyncio.Task[E]
    waiting: int = 0


class EmbeddingCache(Generic[E]):
    """The least recently used embeddings go first once they exceed `capacity` bytes together.

    One that alone exceeds it is returned and not kept. A failed or cancelled making leaves nothing behind.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.nbytes = 0
        self._kept: OrderedDict[ImageId, E] = OrderedDict()
        self._flights: dict[ImageId, _Flight[E]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, image_id: ImageId) -> bool:
        return image_id in self._kept

    def expects(self, image_id: ImageId) -> bool:
        """Whether `get` would find it, or join those who wait for it."""
        return image_id in self._kept or image_id in self._flights

    async def get(self, image_id: ImageId, make: Callable[[], Awaitable[E]]) -> tuple[E, bool]:
        """The embedding, and whether this call is the one that had it made.

        `make` is called at most once for all concurrent askers, who share its failure, too. It is cancelled when the
        last of them is.
        """
        kept = self._kept.get(image_id)
        if kept is not None:
            self._kept.move_to_end(image_id)
            return kept, False
        flight, first = self._flights.get(image_id), False
        if flight is None:
            flight, first = _Flight(asyncio.ensure_future(self._make(image_id, make))), True
            self._flights[image_id] = flight
        return await self._wait(image_id, flight), first

    async def _wait(self, image_id: ImageId, flight: _Flight[E]) -> E:
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                flight.task.cancel()
                if self._flights.get(image_id) is flight:
                    del self._flights[image_id]

    async def _make(self, image_id: ImageId, make: Callable[[], Awaitable[E]]) -> E:
        made = await make()
        if made.nbytes <= self.capacity:
            self._kept[image_id] = made
            self.nbytes += made.nbytes
        while self.nbytes > self.capacity:
            _, evicted = self._kept.popitem(last=False)
            self.nbytes -= evicted.nbytes
        return made
