"""A breaker before each engine: one that keeps failing is no longer asked, and callers learn so at once.

    closed ── `failures` in a row ──▶ open ── `ready()` says yes ──▶ trial ── a success ──▶ closed
                                        ▲                              │
                                        └────────── a failure ─────────┘

While it is open, the engine's own `ready()` is looked at after `cooldown` seconds, then after twice as many and so on
up to `longest`: no request is spent on finding out, and the service recovers by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum

from rsagent.deadline import Deadline
from rsagent.errors import DeadlineExceeded, EngineError, Unavailable
from rsagent.resilience.settings import BreakerSettings

log = logging.getLogger(__name__)

LOOK_WITHIN = 2.0
"""Seconds an engine has to say that it is back."""


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    TRIAL = "trial"


class Breaker:
    """The breaker of the engine called `name`; `look` asks whether it would serve. For one event loop."""

    def __init__(self, name: str, look: Callable[[], Awaitable[bool]], settings: BreakerSettings) -> None:
        self.name = name
        self.state = BreakerState.CLOSED
        self._look = look
        self._settings = settings
        self._failures = 0
        self._pause = settings.cooldown
        self._watch: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Raise Unavailable while the engine is not to be asked."""
        if self.state is BreakerState.OPEN:
            raise Unavailable(f"the {self.name} is down: try again shortly", retry_after=self._pause)

    @contextmanager
    def guard(self, deadline: Deadline) -> Iterator[None]:
        """Ask the engine within, and call `succeeded` there. What is no fault of the engine (an overload, a deadline
        that passed, a request it cannot serve, a caller who leaves) is no failure."""
        self.check()
        try:
            yield
        except EngineError as error:
            if error.retryable:
                self._failed()
            raise
        except DeadlineExceeded:
            if not deadline.expired:  # it fell silent
                self._failed()
            raise

    def succeeded(self) -> None:
        """The engine did what it was asked for."""
        self._failures = 0
        if self.state is BreakerState.TRIAL:
            log.warning("the %s serves again", self.name)
            self.state, self._pause = BreakerState.CLOSED, self._settings.cooldown

    async def close(self) -> None:
        """End the watch."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch

    def _failed(self) -> None:
        self._failures += 1
        enough = self.state is BreakerState.TRIAL or self._failures >= self._settings.failures
        if self.state is BreakerState.OPEN or not enough:
            return
        log.error("the %s keeps failing: it is not asked until it is ready again", self.name)
        self.state, self._pause = BreakerState.OPEN, self._settings.cooldown
        self._watch = asyncio.create_task(self._watch_for_return())

    async def _watch_for_return(self) -> None:
        while self.state is BreakerState.OPEN:
            await asyncio.sleep(self._pause)
            if await self._is_back():
                self.state = BreakerState.TRIAL
            else:
                self._pause = min(2 * self._pause, self._settings.longest)

    async def _is_back(self) -> bool:
        try:
            async with asyncio.timeout(LOOK_WITHIN):
                return await self._look()
        except Exception as error:  # noqa: BLE001  whatever a look fails with, the engine is not back
            log.warning("looking after the %s failed: %r", self.name, error)
            return False
