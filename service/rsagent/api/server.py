"""The shipped server: uvicorn, with an orderly end.

On SIGTERM (or Ctrl-C) nothing new is taken, what runs gets `server.drain` seconds, then ends with `shutting_down`.
A second Ctrl-C ends at once.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import nullcontext
from types import FrameType

import uvicorn
from fastapi import FastAPI

from rsagent.api.app import create_app
from rsagent.service import open_service
from rsagent.settings import ServerSettings, Settings

LAST_WORDS = 5
"""Seconds after the drain in which the last events are sent, before connections are cut."""

Announce = Callable[[str], None]


class Server(uvicorn.Server):
    """uvicorn, which tells the application when the end begins, and `announce` the address when it listens."""

    def __init__(self, app: FastAPI, settings: ServerSettings, announce: Announce | None = None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=int(settings.drain) + LAST_WORDS,
            )
        )
        self._app = app
        self._settings = settings
        self._announce = announce
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say where."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self._announce is not None and self.started:
            self._announce(self.url)

    @property
    def url(self) -> str:
        """The address it listens on, once it does."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came: begin to drain, then let uvicorn wait for what runs."""
        if self._loop is not None and not self.should_exit:
            self._loop.call_soon_threadsafe(self._app.state.house.close, self._settings.drain)
        super().handle_exit(sig, frame)


def serve(settings: Settings, announce: Announce | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C. `announce` is told the address once requests are taken.

    Raises NotConfigured and CheckpointError, before it listens; their messages name the fix.
    """
    asyncio.run(_serve(settings, announce))


async def _serve(settings: Settings, announce: Announce | None) -> None:
    async with open_service(settings) as service:
        app = create_app(settings, lambda _: nullcontext(service))
        await Server(app, settings.server, announce).serve()
