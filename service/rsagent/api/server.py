"""The shipped server: uvicorn, with an orderly end.

On SIGTERM (or Ctrl-C) the service is unready and takes nothing new, but goes on saying so, for `server.linger` seconds
at least; what runs gets `server.drain` seconds, then ends with `shutting_down`. Only then the port is closed.
A second signal ends at once.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType

import uvicorn
from fastapi import FastAPI

from rsagent.api.app import create_app
from rsagent.api.protocol import protocol
from rsagent.engines.vllm import Tell, silent
from rsagent.observing import logs, tracing
from rsagent.service import open_service
from rsagent.settings import ServerSettings, Settings

LAST_WORDS = 5
"""Seconds after the drain in which the last bytes are sent, before connections are cut."""

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
                log_config=None,
                access_log=False,
                server_header=False,
                http=protocol(settings.header_timeout, settings.send_timeout),
                ws="none",
                timeout_graceful_shutdown=LAST_WORDS,
            )
        )
        self._app = app
        self._settings = settings
        self._announce = announce
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say where."""
        self._loop = asyncio.get_running_loop()
        if sockets is None and self._settings.shared:
            sockets = [bound(self._settings)]
        await super().startup(sockets)
        if self._announce is not None and self.started:
            self._announce(self.url)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, which in the end raises again what it captured. SIGTERM has been obeyed by then; raised again,
        it would kill the process before the service is closed, its engines have ended and the last spans are sent."""
        with super().capture_signals():
            try:
                yield
            finally:
                self._captured_signals = [sig for sig in self._captured_signals if sig != signal.SIGTERM]

    @property
    def url(self) -> str:
        """The address it listens on, once it does."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came: begin to drain, and only then let uvicorn end. The second one ends at once."""
        if self._loop is None or self._ending is not None:
            self.force_exit = self._ending is not None
            super().handle_exit(sig, frame)
            return
        self._loop.call_soon_threadsafe(self._begin_to_end, sig)

    def _begin_to_end(self, sig: int) -> None:
        if self._ending is None:
            self._app.state.house.close(self._settings.drain)
            self._ending = asyncio.create_task(self._end(sig))

    async def _end(self, sig: int) -> None:
        """Wait for what runs, which the drain bounds, and for load balancers to notice."""
        gate = self._app.state.house.gate
        lingering = asyncio.create_task(asyncio.sleep(self._settings.linger))
        while gate.running:  # noqa: ASYNC110  once in a process's life, and the gate need not know of it
            await asyncio.sleep(0.02)
        await lingering
        super().handle_exit(sig, None)


def bound(settings: ServerSettings) -> socket.socket:
    """A socket on the settings' address; where it is shared, others may listen on it, too, and each connection goes to
    one of them. Raises OSError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(settings.shared))
        listening.bind((settings.host, settings.port))
    except OSError:
        listening.close()
        raise
    return listening


def serve(settings: Settings, announce: Announce | None = None, tell: Tell = silent) -> None:
    """Serve until SIGTERM or Ctrl-C. `announce` is told the address once requests are taken; `tell`, before that, how
    the start of an engine goes on.

    Raises NotConfigured, CheckpointError and EngineError, before it listens; their messages name the fix.
    """
    asyncio.run(_serve(settings, announce, tell))


async def _serve(settings: Settings, announce: Announce | None, tell: Tell) -> None:
    logs.configure(settings.log)
    tracing.configure(settings.tracing)
    async with open_service(settings, tell=tell) as service:
        app = create_app(settings, lambda _: nullcontext(service))
        await Server(app, settings.server, announce).serve()
