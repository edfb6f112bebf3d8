"""The service in this very process, on a free port of the loopback, for a command that has no server to ask.

Going through HTTP costs a millisecond and leaves one path for both: what `--server` shows is what this shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext

from rsagent.api.app import create_app
from rsagent.api.server import Server
from rsagent.errors import RSAgentError
from rsagent.service import open_service
from rsagent.settings import ServerSettings, Settings


class _Server(Server):
    """Leaves signals to the command: Ctrl-C must end the command, not only the server inside it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(settings: Settings) -> AsyncGenerator[str, None]:
    """The address of a service that lives as long as the context."""
    async with open_service(settings) as service:
        app = create_app(settings, lambda _: nullcontext(service))
        server = _Server(app, ServerSettings(port=0, drain=0))
        running = asyncio.create_task(server.serve())
        try:
            while not server.started:
                if running.done():
                    raise RSAgentError("the service could not listen on the loopback")
                await asyncio.sleep(0.01)
            yield server.url
        finally:
            server.should_exit = True
            await running
