"""HTTP on the wire: uvicorn's parser, with bounds on what comes before a request, and two things applications cannot
know or do by ASGI alone.

`scope["extensions"]["rsagent"]` holds `gone`, an event set once the client hung up (where `receive` would have to take
the body first), and `abort`, which cuts the connection and drops what it still buffers.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 64 * 1024
"""Bytes a request's line and headers may have, give or take one read of the socket."""
LEAST = 64 * 1024
"""Bytes of an answer that a client must take within `send_timeout`, unless there are fewer."""


def protocol(header_timeout: float, send_timeout: float) -> type[asyncio.Protocol]:
    """The protocol class for uvicorn. Cut off is who has not sent a request's headers within `header_timeout` seconds
    of connecting (or of beginning with them), and who takes nothing of a whole answer for `send_timeout` seconds."""

    class Protocol(BoundedProtocol):
        head_patience = header_timeout
        tail_patience = send_timeout

    return Protocol


class Counted:
    """A transport that knows how many bytes were `written` to it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.written = 0
        self._transport = transport

    def write(self, data: bytes) -> None:
        self.written += len(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BoundedProtocol(HttpToolsProtocol):
    """See the module."""

    head_patience: float = 10.0
    tail_patience: float = 30.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._counted = Counted(transport)
        super().connection_made(self._counted)  # type: ignore[arg-type]
        self._gone = asyncio.Event()
        self._in_head = self._in_message = False
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tail: asyncio.TimerHandle | None = None
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()
        self._stop_timer()
        if self._tail is not None:
            self._tail.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_in_head = self._in_head
        super().data_received(data)
        if self._in_head or self._is_idle():
            self._expect_head()
        self._head_bytes = self._head_bytes + len(data) if self._in_head and was_in_head else 0
        if self._head_bytes > MAX_HEAD and not self.transport.is_closing():
            self.send_400_response("The request's headers are too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._in_message = True
        scope: Any = self.scope
        scope["extensions"] = {"rsagent": {"gone": self._gone, "abort": self.transport.abort}}

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_message = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._tail is None:
            self._watch_tail()

    def _watch_tail(self) -> None:
        """An answer is written, but not taken yet: go on as long as the client takes some of it."""
        unsent = self.transport.get_write_buffer_size()
        due = self._counted.written - unsent + min(unsent, LEAST)
        self._tail = self.loop.call_later(self.tail_patience, self._check_tail, due) if unsent else None

    def _check_tail(self, due: int) -> None:
        """By now so many bytes must have been taken of all that was ever written: later answers may be under way."""
        if self._counted.written - self.transport.get_write_buffer_size() < due:
            self.transport.abort()
        else:
            self._watch_tail()

    def _is_idle(self) -> bool:
        return not self._in_message and (self.cycle is None or self.cycle.response_complete)

    def _expect_head(self) -> None:
        if self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(self.head_patience, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
