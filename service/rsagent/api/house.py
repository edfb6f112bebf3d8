"""What the routes share: the running service, the gate before it, the drain behind it, and the visit of a request."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from rsagent.api.fetch import Fetcher
from rsagent.api.gate import Gate, Permit
from rsagent.api.keys import Keyring, Tenant
from rsagent.api.ledger import Ledger
from rsagent.api.problems import CANCELLED
from rsagent.api.requests import Options
from rsagent.api.waiting import Drain
from rsagent.deadline import Deadline
from rsagent.service import Service
from rsagent.settings import Settings


@dataclass(frozen=True, slots=True, eq=False)
class House:
    """One application's service with all that stands around it."""

    service: Service
    gate: Gate
    drain: Drain
    keys: Keyring
    ledger: Ledger
    fetcher: Fetcher

    @classmethod
    def around(cls, service: Service, settings: Settings) -> House:
        """The house that the settings describe. Raises NotConfigured for a key file that cannot be read."""
        limits = settings.limits
        return cls(
            service,
            Gate(limits, service.metrics),
            Drain(),
            Keyring.load(settings.keys, limits.inflight),
            Ledger(settings.idempotency),
            Fetcher(settings.fetch, limits.image.max_bytes),
        )

    def close(self, grace: float) -> None:
        """Take nothing new from now on, and end what still runs after `grace` seconds."""
        self.gate.close()
        asyncio.get_running_loop().call_later(grace, self.drain.cut)

    async def empty(self) -> None:
        """Give up what runs without a client."""
        await self.ledger.close()


@dataclass(slots=True, eq=False)
class Visit:
    """A request that was let in. `outcome` is what it will be counted as: a status, an error's code or `cancelled`.

    `until` is when its answer should be complete; a client who still has not taken it a while later is dropped.
    """

    house: House
    request_id: str
    tenant: Tenant
    arrived: float
    permit: Permit
    outcome: str = "internal"
    until: Deadline = field(default_factory=Deadline.never)
    _handed_over: bool = False

    @property
    def queue_ms(self) -> float:
        return self.permit.waited * 1000

    def granted(self, options: Options) -> Deadline:
        """When a request with these options must be answered."""
        seconds = self.house.service.settings.limits.deadline
        if options.deadline_ms is not None:
            seconds = options.deadline_ms / 1000
        return Deadline(self.arrived + seconds)

    def hand_over(self) -> None:
        """Leave the permit to somebody who gives it back."""
        self._handed_over = True

    def end(self) -> None:
        """Give the permit back and count the request."""
        if not self._handed_over:
            self.permit.release()
        metrics = self.house.service.metrics
        metrics.request(self.outcome, time.monotonic() - self.arrived)
        if self.outcome == CANCELLED:
            metrics.cancelled.inc()


def house_of(request: Request) -> House:
    """The house that the application's lifespan opened."""
    house = request.app.state.house
    assert isinstance(house, House), "the application was called outside its lifespan"
    return house


def visit_of(request: Request) -> Visit:
    """The visit that the door opened: its permit was taken before the body is read, and lasts as long as the request,
    streamed answers included."""
    visit = request.state.visit
    assert isinstance(visit, Visit), "this route is not behind the door: name it in rsagent.api.door.ADMITTED"
    return visit


HouseDependency = Annotated[House, Depends(house_of)]
VisitDependency = Annotated[Visit, Depends(visit_of)]
