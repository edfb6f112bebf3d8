"""The door: key, breakers, and a permit, all before a byte of the body is read and before any routing is done.

It is plain ASGI, so that a refusal costs next to nothing while the service is overloaded, and it watches over the
answer as well: a client who takes nothing any more is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Any, NoReturn

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rsagent.api.gate import Permit
from rsagent.api.house import House, Visit
from rsagent.api.keys import Tenant
from rsagent.api.problems import CANCELLED, problem_of, respond
from rsagent.api.waiting import ClientGone, unless
from rsagent.errors import RSAgentError
from rsagent.observing.tracing import span

KEYED = "/v1/segment"
"""Requests to this address and below need a key, where keys are asked for."""

ADMITTED = frozenset({"/v1/segment", "/segment"})
"""Requests to these hold a permit from beginning to end. Others take theirs from `house.gate` themselves."""

log = logging.getLogger("rsagent.requests")


class Door:
    """Lets requests in, one by one, or turns them away."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not _is_kept(scope["path"]):
            await self._app(scope, receive, send)
            return
        arrived, house = time.monotonic(), scope["app"].state.house
        with span("request", path=scope["path"], request_id=scope["state"]["request_id"]) as traced:
            try:
                tenant = house.keys.admit(_key(Headers(scope=scope)))
                scope["state"]["tenant"] = tenant
                house.service.check()
                visit = await _enter(house, tenant, scope, arrived) if scope["path"] in ADMITTED else None
            except RSAgentError as error:
                await _refuse(error, house, arrived, scope, receive, send)
                outcome = error.code
            except ClientGone:
                house.service.metrics.cancelled.inc()
                outcome = CANCELLED
                house.service.metrics.request(outcome, time.monotonic() - arrived)
            else:
                outcome = await self._host(visit, scope, receive, send)
            traced.set(outcome=outcome)
        _note(scope, outcome, arrived)

    async def _host(self, visit: Visit | None, scope: Scope, receive: Receive, send: Send) -> str:
        """Have the request served; what it is counted as."""
        patient = _Patience(visit, scope, send)
        if visit is None:
            await self._app(scope, receive, patient)
            return "passed"
        scope["state"]["visit"] = visit
        try:
            await self._app(scope, receive, patient)
        except (ClientGone, asyncio.CancelledError):
            visit.outcome = CANCELLED
            raise
        finally:
            if patient.dropped:
                visit.outcome = CANCELLED
            visit.end()
        return visit.outcome


class _Patience:
    """Sends, and drops a client who does not take what is sent within `send_timeout`, or who is still taking it so
    long after the request was to be over: a reader of a byte a second would hold its permit for hours."""

    def __init__(self, visit: Visit | None, scope: Scope, send: Send) -> None:
        self.dropped = False
        self._visit = visit
        self._abort: Callable[[], object] = _extension(scope, "abort", _no_abort)
        self._send = send
        self._limit = scope["app"].state.house.service.settings.server.send_timeout

    async def __call__(self, message: Message) -> None:
        end = math.inf if self._visit is None else self._visit.until.at + self._limit
        try:
            async with asyncio.timeout(min(self._limit, end - time.monotonic())):
                await self._send(message)
        except TimeoutError:
            self.dropped = True
            self._abort()


async def _enter(house: House, tenant: Tenant, scope: Scope, arrived: float) -> Visit:
    gate = house.gate
    knocked = gate.knock(tenant)
    if isinstance(knocked, Permit):
        return Visit(house, scope["state"]["request_id"], tenant, arrived, knocked)
    try:
        await unless(gate.turn_of(knocked), _gone(scope))
        return Visit(house, scope["state"]["request_id"], tenant, arrived, gate.invite(knocked))
    finally:
        gate.withdraw(knocked)


async def _gone(scope: Scope) -> NoReturn:
    """Raise ClientGone when the server says so. `receive` would say it, too, but takes the body for it."""
    gone = _extension(scope, "gone", asyncio.Event())
    await gone.wait()
    raise ClientGone


def _extension(scope: Scope, name: str, default: Any) -> Any:
    """What the shipped server offers beyond ASGI (`api.protocol`); other servers do without."""
    return scope.get("extensions", {}).get("rsagent", {}).get(name, default)


def _no_abort() -> NoReturn:
    raise ClientGone


def _is_kept(path: str) -> bool:
    return path in ADMITTED or path == KEYED or path.startswith(KEYED + "/")


def _key(headers: Headers) -> str | None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key")


async def _refuse(
    error: RSAgentError, house: House, arrived: float, scope: Scope, receive: Receive, send: Send
) -> None:
    house.service.metrics.request(error.code, time.monotonic() - arrived)
    await respond(problem_of(error, scope["state"]["request_id"]))(scope, receive, send)


def _note(scope: Scope, outcome: str, arrived: float) -> None:
    """A line for the log, of what is safe to keep: no header, no body, no sentence."""
    if log.isEnabledFor(logging.INFO):
        tenant = scope["state"].get("tenant")
        took = round((time.monotonic() - arrived) * 1000)
        told = {"path": scope["path"], "outcome": outcome, "ms": took, "key": tenant.name if tenant else None}
        log.info("%s %s in %d ms", scope["path"], outcome, took, extra={"told": told})
