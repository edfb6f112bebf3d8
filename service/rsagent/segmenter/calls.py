"""The calls that a segmenter has under way: bounded, each within its deadline, waited for when it closes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rsagent.deadline import Deadline
from rsagent.errors import DeadlineExceeded, Overloaded, RSAgentError, SegmenterError, ShuttingDown


class Calls:
    """Counts calls, `most` at once. For one event loop."""

    def __init__(self, most: float = math.inf) -> None:
        self.count = 0
        self.closed = False
        self._most = most
        self._idle = asyncio.Event()
        self._idle.set()

    @asynccontextmanager
    async def one(self, deadline: Deadline | None) -> AsyncIterator[None]:
        """A call, for as long as the block runs.

        Raises ShuttingDown once closed, Overloaded beyond the bound, DeadlineExceeded when the deadline passes, and
        SegmenterError for any failure within that is none of ours.
        """
        if self.closed:
            raise ShuttingDown("the segmenter is closed")
        if self.count >= self._most:
            raise Overloaded("the segmenter's queue is full: try again shortly", retry_after=1.0)
        self.count += 1
        self._idle.clear()
        try:
            async with _within(deadline or Deadline.never()):
                yield
        except RSAgentError:
            raise
        except Exception as error:
            raise SegmenterError("the segmenter failed on this picture") from error
        finally:
            self.count -= 1
            if not self.count:
                self._idle.set()

    async def close(self) -> bool:
        """Take no more, and wait for those under way; whether this was the first to close."""
        first, self.closed = not self.closed, True
        await self._idle.wait()
        return first


@asynccontextmanager
async def _within(deadline: Deadline) -> AsyncIterator[None]:
    deadline.check()  # a timeout of 0 lets its block run up to the first wait, and an encode would start
    scope = deadline.timeout()
    try:
        async with scope:
            yield
    except TimeoutError as error:
        if not scope.expired():  # the model's, or the picture's, own
            raise
        raise DeadlineExceeded("the deadline passed before the segmenter answered") from error
