"""The application: routes, errors and a lifespan around one service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI

from rsagent.api import batch, openapi, operations, pages, problems, segment
from rsagent.api.door import Door
from rsagent.api.house import House
from rsagent.api.identity import Identity
from rsagent.service import Service, open_service
from rsagent.settings import Settings

Opener = Callable[[Settings], AbstractAsyncContextManager[Service]]


def create_app(settings: Settings, opener: Opener = open_service) -> FastAPI:
    """An ASGI application. Its lifespan opens the service (and closes it): engines start and stop with the app.

    `app.state.house` is there within the lifespan; `house.close(grace)` begins an orderly end.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opener(settings) as service:
            app.state.house = house = House.around(service, settings)
            try:
                yield
            finally:
                await house.empty()

    app = FastAPI(
        title="RSAgent",
        version="1",
        description=openapi.DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for module in (segment, batch, operations, pages):
        app.include_router(module.router)
    pages.install(app)
    problems.install(app)
    openapi.install(app)
    app.add_middleware(Door)
    app.add_middleware(Identity)  # the last one added is the outermost
    return app
