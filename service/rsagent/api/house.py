"""What the routes share: the running service, the gate before it, the drain behind it, and the visit of a request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from rsagent.api.gate import Gate
from rsagent.api.waiting import ClientGone, Drain
from rsagent.errors import RSAgentError
from rsagent.service import Service

CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, eq=False)
class House:
    """One application's service with its gate and drain."""

    service: Service
    gate: Gate
    drain: Drain

    def close(self, grace: float) -> None:
        """Take nothing new from now on, and end what still runs after `grace` seconds."""
        self.gate.close()
        asyncio.get_running_loop().call_later(grace, self.drain.cut)


@dataclass(slots=True)
class Visit:
    """A request that was let in. `outcome` is what it will be counted as: a status, an error's code or `cancelled`."""

    house: House
    request_id: str
    arrived: float
    queue_ms: float
    outcome: str = "internal"


def house_of(request: Request) -> House:
    """The house that the application's lifespan opened."""
    house = request.app.state.house
    assert isinstance(house, House), "the application was called outside its lifespan"
    return house


async def visit(request: Request) -> AsyncIterator[Visit]:
    """A permit for as long as the request takes, streamed answers included; and its place in the metrics.

    It is taken before the body is read. Raises Overloaded and ShuttingDown.
    """
    house, arrived = house_of(request), time.monotonic()
    guest = Visit(house, request.state.request_id, arrived, 0.0)
    try:
        async with house.gate.permit() as waited:
            guest.queue_ms = waited * 1000
            yield guest
    except RSAgentError as error:
        guest.outcome = error.code
        raise
    except (ClientGone, asyncio.CancelledError):
        guest.outcome = CANCELLED
        raise
    finally:
        metrics = house.service.metrics
        metrics.request(guest.outcome, time.monotonic() - arrived)
        if guest.outcome == CANCELLED:
            metrics.cancelled.inc()


HouseDependency = Annotated[House, Depends(house_of)]
VisitDependency = Annotated[Visit, Depends(visit)]
