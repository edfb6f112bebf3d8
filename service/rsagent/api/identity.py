"""A name for every request: taken from X-Request-ID, or made; in the answer, in every error, in the log."""

from __future__ import annotations

import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rsagent.api.problems import problem_of, respond
from rsagent.observing import logs

HEADER = "X-Request-ID"
_PLAIN = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class Identity:
    """The outermost layer: names the request, and turns what nobody caught into a problem document."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get(HEADER))
        scope.setdefault("state", {})["request_id"] = request_id
        named = logs.request_id.set(request_id)
        started = False

        async def send_named(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers[HEADER] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except Exception as error:
            if started:
                raise  # the server cuts the connection, which is all that is left to say
            await respond(problem_of(error, request_id))(scope, receive, send_named)
        finally:
            logs.request_id.reset(named)


def _request_id(given: str | None) -> str:
    """The client's own name if it is plain text that cannot forge a log line, else a new one."""
    return given if given and _PLAIN.fullmatch(given) else uuid.uuid4().hex
