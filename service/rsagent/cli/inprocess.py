"""The service in this very process, on a free port of the loopback, for a command that has no server to ask.

Going through HTTP costs a millisecond and leaves one path for both: what `--server` shows is what this shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn

from rsagent.api.app import create_app
from rsagent.errors import RSAgentError
from rsagent.settings import Settings


class _Server(uvicorn.Server):
    """Leaves signals to the command: Ctrl-C must end the command, not only the server inside it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(settings: Settings) -> AsyncGenerator[str, None]:
    """The address of a service that lives as long as the context."""
    config = uvicorn.Config(create_app(settings), host="127.0.0.1", port=0, log_level="critical", access_log=False)
    server = _Server(config)
    running = asyncio.create_task(server.serve())
    try:
        while not server.started:
            if running.done():
                await running
                raise RSAgentError("the service did not start")
            await asyncio.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running
