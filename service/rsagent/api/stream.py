"""Server-sent events: what happens is told in order, and comments fill the silence.

Three things run at once: the episode, which puts events on a bounded backlog; the telling, which turns them into
bytes and sends them; and a watch on the connection. Whichever ends first ends the others. A reader that takes nothing
is the door's to drop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from fastapi import Response
from starlette.types import Receive, Scope, Send

from rsagent.agent.events import Ended, Event
from rsagent.api.waiting import ClientGone, hung_up, unless
from rsagent.settings import ServerSettings

EVENT_STREAM = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
KEEP_ALIVE = b": keep-alive\n\n"
BACKLOG = 256
"""Events an episode may be ahead of its reader; beyond it, it waits."""


def frame(number: int, name: str, data: str) -> bytes:
    """One event. `data` is JSON, and so holds no line break."""
    return f"id: {number}\nevent: {name}\ndata: {data}\n\n".encode()


class Story(Protocol):
    """What a stream tells."""

    def opening(self) -> bytes:
        """What is said before anything happened."""
        ...

    async def play(self, put: Callable[[Event], Awaitable[None]]) -> None:
        """Let it happen, up to and including `Ended`. Raises what made it fail."""
        ...

    async def tell(self, event: Event) -> bytes:
        """What is said of `event`, possibly nothing."""
        ...

    def failed(self, error: Exception) -> bytes:
        """What is said last, in place of an end."""
        ...

    def abandoned(self) -> None:
        """Nobody heard the end."""
        ...


class EventStream(Response):
    """Tells a story as `text/event-stream`."""

    media_type = EVENT_STREAM

    def __init__(self, story: Story, settings: ServerSettings) -> None:
        self.status_code = 200
        self.background = None
        self._story = story
        self._settings = settings
        self._over = False
        self.init_headers(HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            await unless(self._send_all(send), hung_up(receive))
        except ClientGone:
            if not self._over:  # a server also says "disconnect" once it has the whole answer
                self._story.abandoned()

    async def _send_all(self, send: Send) -> None:
        await self._send(send, self._story.opening())
        backlog: asyncio.Queue[Event | Exception] = asyncio.Queue(BACKLOG)
        episode = asyncio.ensure_future(self._play(backlog))
        try:
            while not self._over:
                chunk, last = await self._next(backlog)
                await self._send(send, chunk, more=not last)
                self._over = last
        finally:
            episode.cancel()
            await asyncio.gather(episode, return_exceptions=True)

    async def _play(self, backlog: asyncio.Queue[Event | Exception]) -> None:
        try:
            await self._story.play(backlog.put)
        except Exception as error:  # noqa: BLE001  whatever it is becomes the stream's last event, and is logged there
            await backlog.put(error)

    async def _next(self, backlog: asyncio.Queue[Event | Exception]) -> tuple[bytes, bool]:
        """What to send next, and whether that is the end: all that has happened, or a comment if nothing does."""
        try:
            async with asyncio.timeout(self._settings.keep_alive):
                happened = await backlog.get()
        except TimeoutError:
            return KEEP_ALIVE, False
        chunk, over = await self._tell(happened)
        while not over and not backlog.empty():
            more, over = await self._tell(backlog.get_nowait())
            chunk += more
        return chunk, over

    async def _tell(self, happened: Event | Exception) -> tuple[bytes, bool]:
        try:
            if isinstance(happened, Exception):
                raise happened
            return await self._story.tell(happened), isinstance(happened, Ended)
        except Exception as error:  # noqa: BLE001  as above
            return self._story.failed(error), True

    async def _send(self, send: Send, chunk: bytes, more: bool = True) -> None:
        await send({"type": "http.response.body", "body": chunk, "more_body": more})
