"""Admission: so many requests at once, so many waiting, the rest turned away before their body is read.

Who waits is let in by turns of tenants (`fairness`); a tenant at its own share waits although there is room.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from rsagent.api.drainrate import DrainRate
from rsagent.api.fairness import FairQueue
from rsagent.api.keys import ANYONE, Tenant
from rsagent.errors import Overloaded, ShuttingDown
from rsagent.metrics import Metrics
from rsagent.settings import Limits


class Permit:
    """A place inside. `release` gives it back; once is enough, and more do no harm."""

    def __init__(self, gate: Gate, tenant: Tenant, waited: float) -> None:
        self.waited = waited
        """Seconds that it was waited for."""
        self._gate: Gate | None = gate
        self._tenant = tenant
        self._since = time.monotonic()
        gate.let_in(waited)

    def release(self) -> None:
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.leave(self._tenant, time.monotonic() - self._since)


@dataclass(slots=True, eq=False)
class Guest:
    """One who waits in the queue since `since`; `turn` is done when the wait is over, by an invitation or an error."""

    tenant: Tenant
    since: float = field(default_factory=time.monotonic)
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    has_left: bool = False


class Gate:
    """The gate of one event loop. Permits always come back, however a request ends."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self._inside: Counter[str] = Counter()
        self._caps: dict[str, int] = {}
        self._running = 0
        self._queue: FairQueue[Guest] = FairQueue()
        self._drain = DrainRate(limits.inflight)
        self._closed = False
        metrics.inflight_limit.set(limits.inflight)
        metrics.queue_limit.set(limits.queue)

    @property
    def running(self) -> int:
        return self._running

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def closed(self) -> bool:
        return self._closed

    @asynccontextmanager
    async def permit(self, tenant: Tenant = ANYONE) -> AsyncIterator[float]:
        """Hold a permit; yields the seconds waited for it. Raises as `enter`."""
        permit = await self.enter(tenant)
        try:
            yield permit.waited
        finally:
            permit.release()

    async def enter(self, tenant: Tenant = ANYONE) -> Permit:
        """A permit, as soon as there is one. Raises as `knock` and `turn_of`."""
        knocked = self.knock(tenant)
        if isinstance(knocked, Permit):
            return knocked
        try:
            await self.turn_of(knocked)
            return self.invite(knocked)
        finally:
            self.withdraw(knocked)

    def knock(self, tenant: Tenant = ANYONE) -> Permit | Guest:
        """A permit, or a place in the queue: then await `turn_of`, `invite`, and in any case `withdraw`.

        Raises Overloaded (with `retry_after`) if the queue is full, ShuttingDown once closed.
        """
        if self._closed:
            self._metrics.rejected.labels("draining").inc()
            raise ShuttingDown("the service is shutting down: ask another instance")
        self._caps[tenant.name] = tenant.concurrency or self._limits.inflight
        if self._running < self._limits.inflight and self._has_share(tenant.name):
            self._take(tenant.name)
            return Permit(self, tenant, 0.0)
        if len(self._queue) >= self._limits.queue:
            self._make_room(tenant)
        guest = Guest(tenant)
        self._queue.add(tenant.name, guest)
        self._metrics.queue_depth.inc()
        return guest

    async def turn_of(self, guest: Guest) -> None:
        """Wait for the guest's turn. Raises Overloaded if it takes too long or another needs the place, ShuttingDown
        if the gate is closed meanwhile."""
        try:
            async with asyncio.timeout(self._limits.queue_timeout):
                await guest.turn
        except TimeoutError as error:
            raise self._refusal("timeout") from error

    def invite(self, guest: Guest) -> Permit:
        """The permit of one whose turn has come."""
        self._forget(guest)
        return Permit(self, guest.tenant, time.monotonic() - guest.since)

    def withdraw(self, guest: Guest) -> None:
        """The guest waits no longer. If its turn had come and it did not take it, the next one gets it."""
        if not guest.has_left:
            self._forget(guest)
            if guest.turn.done() and not guest.turn.cancelled() and guest.turn.exception() is None:
                self.leave(guest.tenant)

    def leave(self, tenant: Tenant, stayed: float | None = None) -> None:
        """Give a permit back: to the next who waits and may come in. `stayed` is for how many seconds it was held."""
        self._count(tenant.name, -1)
        heir = self._queue.next(self._has_share)
        while heir is not None and heir.turn.done():
            heir = self._queue.next(self._has_share)
        if stayed is not None:
            self._drain.left(time.monotonic(), stayed, still_full=heir is not None)
        if heir is not None:
            self._take(heir.tenant.name)
            heir.turn.set_result(None)

    def close(self) -> None:
        """Let no one in any more, and send away those who wait."""
        self._closed = True
        for guest in self._queue:
            if not guest.turn.done():
                guest.turn.set_exception(ShuttingDown("the service is shutting down: ask another instance"))

    def retry_after(self) -> int:
        """Seconds after which one who comes now would have found a place, by the measured drain rate."""
        return max(1, math.ceil(self._drain.seconds_for(len(self._queue) + 1)))

    def let_in(self, waited: float) -> None:
        """Count a permit that was given after `waited` seconds."""
        self._metrics.queue_seconds.observe(waited)

    def _forget(self, guest: Guest) -> None:
        guest.has_left = True
        self._queue.discard(guest.tenant.name, guest)
        self._metrics.queue_depth.dec()

    def _has_share(self, tenant: str) -> bool:
        return self._inside[tenant] < self._caps[tenant]

    def _take(self, tenant: str) -> None:
        self._count(tenant, 1)
        if self._running == self._limits.inflight:
            self._drain.filled(time.monotonic())

    def _count(self, tenant: str, change: int) -> None:
        self._running += change
        self._inside[tenant] += change
        self._metrics.inflight.inc(change)

    def _make_room(self, tenant: Tenant) -> None:
        """Send the last of a longer line away. Raises Overloaded where there is none."""
        displaced = self._queue.displaced_by(tenant.name)
        if displaced is None:
            raise self._refusal("full")
        if not displaced.turn.done():
            displaced.turn.set_exception(self._refusal("full"))

    def _refusal(self, reason: str) -> Overloaded:
        self._metrics.rejected.labels(reason).inc()
        return Overloaded("the service is busy: try again later", retry_after=self.retry_after())
