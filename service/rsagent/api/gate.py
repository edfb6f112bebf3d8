"""Admission: so many requests at once, so many waiting, the rest turned away before their body is read."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rsagent.errors import Overloaded, ShuttingDown
from rsagent.metrics import Metrics
from rsagent.settings import Limits

SMOOTHING = 0.2
"""Weight of the latest request in the moving mean of how long one takes."""


class Gate:
    """A first-come-first-served gate for one event loop. Permits always come back, however a request ends."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._mean_seconds = 1.0
        self._closed = False

    @property
    def running(self) -> int:
        return self._running

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def closed(self) -> bool:
        return self._closed

    @asynccontextmanager
    async def permit(self) -> AsyncIterator[float]:
        """Hold a permit; yields the seconds waited for it.

        Raises Overloaded (with `retry_after`) if the queue is full or the wait too long, ShuttingDown once closed.
        """
        started = time.monotonic()
        await self._enter()
        entered = time.monotonic()
        try:
            yield entered - started
        finally:
            self._mean_seconds += SMOOTHING * (time.monotonic() - entered - self._mean_seconds)
            self._leave()

    def close(self) -> None:
        """Let no one in any more, and send away those who wait."""
        self._closed = True
        for turn in self._waiting:
            if not turn.done():
                turn.set_exception(ShuttingDown("the service is shutting down: ask another instance"))

    async def _enter(self) -> None:
        if self._closed:
            self._metrics.rejected.labels("draining").inc()
            raise ShuttingDown("the service is shutting down: ask another instance")
        if self._running < self._limits.inflight:
            self._count(1)
            return
        if len(self._waiting) >= self._limits.queue:
            raise self._refusal("full")
        await self._wait()

    async def _wait(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._metrics.queue_depth.inc()
        try:
            async with asyncio.timeout(self._limits.queue_timeout):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._leave()  # the permit and the cancellation came together
            if isinstance(error, TimeoutError):
                raise self._refusal("timeout") from error
            raise
        finally:
            self._waiting.remove(turn)
            self._metrics.queue_depth.dec()

    def _leave(self) -> None:
        """Hand the permit to the first who still waits, or put it back."""
        heir = next((turn for turn in self._waiting if not turn.done()), None)
        if heir is None:
            self._count(-1)
        else:
            heir.set_result(None)

    def _count(self, change: int) -> None:
        self._running += change
        self._metrics.inflight.inc(change)

    def _refusal(self, reason: str) -> Overloaded:
        self._metrics.rejected.labels(reason).inc()
        ahead = (len(self._waiting) + 1) / self._limits.inflight
        retry_after = max(1, math.ceil(self._mean_seconds * ahead))
        return Overloaded("the service is busy: try again later", retry_after=retry_after)
