"""The synchronous client: the asynchronous one, on an event loop in a thread of its own.

So there is one implementation, a timeout holds whatever the network does, and it also works where an event loop
already runs, as in a notebook.
"""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack
from types import TracebackType
from typing import Self, TypeVar

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal

from rsagent.api.requests import Options
from rsagent.client.aio import URL, AsyncClient
from rsagent.client.answer import Answer, Event
from rsagent.client.asking import Picture, Unpack, Wishes

T = TypeVar("T")


class Client:
    """Asks a running service.

    client = rsagent.Client()
    answer = client.segment("cup.jpg", "what you drink coffee from")
    answer.mask                                        # bool [H, W]

    Parameters are `AsyncClient`'s. `close` it, use it as a context manager, or let it go out of scope. Safe to use
    from many threads at once.
    """

    def __init__(
        self,
        url: str = URL,
        *,
        api_key: str | None = None,
        timeout: float | None = None,
        retries: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal("asyncio", name="rsagent-client"))
            self._inner = AsyncClient(url, api_key=api_key, timeout=timeout, retries=retries, transport=transport)
            stack.callback(self._portal.call, self._inner.aclose)
            self._close = weakref.finalize(self, stack.pop_all().close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up on everything. Once is enough, and more do no harm."""
        self._close()

    def ready(self) -> bool:
        """See `AsyncClient.ready`."""
        return _call(self._portal, self._inner.ready)

    def segment(
        self,
        image: Picture,
        query: str,
        *,
        options: Options | None = None,
        timeout: float | None = None,
        **wishes: Unpack[Wishes],
    ) -> Answer:
        """See `AsyncClient.segment`. Ctrl-C hangs up."""
        return _call(
            self._portal, lambda: self._inner.segment(image, query, options=options, timeout=timeout, **wishes)
        )

    def stream(
        self,
        image: Picture,
        query: str,
        *,
        options: Options | None = None,
        timeout: float | None = None,
        **wishes: Unpack[Wishes],
    ) -> Generator[Event, None, None]:
        """See `AsyncClient.stream`. Leaving the loop over it hangs up once the generator is closed or collected."""
        events = self._inner.stream(image, query, options=options, timeout=timeout, **wishes)
        try:
            while (event := _call(self._portal, lambda: anext(events, None))) is not None:
                yield event
        finally:
            _call(self._portal, events.aclose)


def _call(portal: BlockingPortal, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` returns on the portal's loop; it is cancelled when the caller is interrupted."""

    async def run() -> T:
        return await work()

    future = portal.start_task_soon(run)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
