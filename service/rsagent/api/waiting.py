"""Work that gives way: to a client that hung up, and to a service that shuts down."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

from starlette.types import Receive

from rsagent.errors import ShuttingDown

T = TypeVar("T")


class ClientGone(Exception):
    """The client hung up; there is nobody to answer."""


async def hung_up(receive: Receive) -> NoReturn:
    """Raise ClientGone once the client is gone. The request's body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ClientGone


class Drain:
    """What SIGTERM sets going: first nothing new, and after a grace period an end to what still runs."""

    def __init__(self) -> None:
        self._cut = asyncio.Event()

    def cut(self) -> None:
        """End what still runs."""
        self._cut.set()

    async def cut_off(self) -> NoReturn:
        """Raise ShuttingDown once the grace period is over."""
        await self._cut.wait()
        raise ShuttingDown("the service is shutting down: ask another instance")


async def unless(work: Coroutine[Any, Any, T], *stops: Coroutine[Any, Any, NoReturn]) -> T:
    """The result of `work`, unless one of `stops` raises first; whatever lost is cancelled and over on return."""
    tasks: list[asyncio.Task[T]] = [asyncio.ensure_future(work), *map(asyncio.ensure_future, stops)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task.done()).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
