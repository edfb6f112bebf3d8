"""The asynchronous client. The synchronous one is this, run in a thread of its own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from httpx_sse import EventSource, SSEError
from pydantic import ValidationError

from rsagent.api.answers import SegmentAnswer
from rsagent.api.requests import Options
from rsagent.client.answer import Answer, Event, answer_of, event_of
from rsagent.client.asking import Picture, Unpack, Wishes, file_of, form_of, options_of
from rsagent.client.failures import RequestFailed, TimedOut, Unreachable, refusal
from rsagent.client.retries import Retries
from rsagent.deadline import Deadline
from rsagent.errors import BadRequest

T = TypeVar("T")

URL = "http://127.0.0.1:8080"
CONNECT_TIMEOUT = 10.0
"""Seconds. There is no read timeout: the service keeps its own deadline, and the caller may set a timeout."""


class AsyncClient:
    """Asks a running service. Use it as a context manager, or call `aclose`.

    async with AsyncClient("http://127.0.0.1:8080") as client:
        answer = await client.segment("cup.jpg", "what you drink coffee from")
        answer.mask                                    # bool [H, W]

    `timeout` is the seconds a call may take, retries and their pauses included; None leaves it to the service's
    deadline. `retries` is how often a call is tried again where that is safe (see `Retries.pause`).
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
        self.url = url
        self._timeout = timeout
        self._retries = retries
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={} if api_key is None else {"Authorization": f"Bearer {api_key}"},
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT),
            limits=httpx.Limits(max_connections=None),
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Hang up on everything."""
        await self._http.aclose()

    async def ready(self) -> bool:
        """Whether the service would serve a request now; False also where nobody answers."""
        try:
            response = await self._http.get("/readyz", timeout=CONNECT_TIMEOUT)
        except httpx.HTTPError:
            return False
        return response.status_code == httpx.codes.OK

    async def segment(
        self,
        image: Picture,
        query: str,
        *,
        options: Options | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  a part of what is promised: pauses and retries count
        **wishes: Unpack[Wishes],
    ) -> Answer:
        """The answer to `query` about `image`; options by name, or as a model.

        Raises RequestFailed (Unreachable, TimedOut among it), BadQuery and BadImage for what is wrong at once, and
        OSError for a file that cannot be read.
        """
        form = form_of(await asyncio.to_thread(file_of, image), query, options_of(options, wishes))
        form["headers"] = {"Idempotency-Key": uuid.uuid4().hex}
        return await self._tried(lambda: self._answered(form), self._patience(timeout), repeatable=True)

    async def stream(
        self,
        image: Picture,
        query: str,
        *,
        options: Options | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  as in `segment`
        **wishes: Unpack[Wishes],
    ) -> AsyncGenerator[Event, None]:
        """The events as they happen, `Answer` last. Closing the generator (`contextlib.aclosing`) hangs up, which
        ends the episode. Tried again only while nothing has begun. Raises as `segment`."""
        form = form_of(await asyncio.to_thread(file_of, image), query, options_of(options, wishes))
        form["headers"] = {"Accept": "text/event-stream"}
        patience = self._patience(timeout)
        async with AsyncExitStack() as stack:
            response = await self._tried(lambda: self._sent(form), patience, repeatable=False)
            stack.push_async_callback(response.aclose)
            events = await stack.enter_async_context(aclosing(_events(response)))
            while (event := await _within(patience, anext(events, None))) is not None:
                yield event
                if isinstance(event, Answer):
                    return
        raise Unreachable(
            "the stream ended before its final event: the service was stopped or a proxy cut it", sent=True
        )

    def _patience(self, timeout: float | None) -> Retries:
        seconds = self._timeout if timeout is None else timeout
        return Retries(self._retries, Deadline.never() if seconds is None else Deadline.after(seconds))

    async def _tried(self, attempt: Callable[[], Awaitable[T]], patience: Retries, *, repeatable: bool) -> T:
        """What `attempt` returns, tried again as `patience` allows."""
        tries = 0
        while True:
            tries += 1
            try:
                return await _within(patience, attempt())
            except RequestFailed as failure:
                pause = patience.pause(failure, tries, repeatable=repeatable)
                if pause is None:
                    raise
                await asyncio.sleep(pause)

    async def _answered(self, form: dict[str, Any]) -> Answer:
        response = await self._sent(form)
        async with aclosing(response):
            try:
                body = await response.aread()
                return await asyncio.to_thread(lambda: answer_of(SegmentAnswer.model_validate_json(body)))
            except httpx.HTTPError as error:
                raise _broken(self.url, error) from error
            except (ValidationError, BadRequest) as error:
                raise _foreign() from error

    async def _sent(self, form: dict[str, Any]) -> httpx.Response:
        """The response, of which only the head has been read; it says 200."""
        try:
            request = self._http.build_request("POST", "/v1/segment", **form)
            response = await self._http.send(request, stream=True)
            if response.status_code != httpx.codes.OK:
                async with aclosing(response):
                    raise refusal((await response.aread()).decode(errors="replace"), response.status_code)
        except httpx.HTTPError as error:
            raise _broken(self.url, error) from error
        return response


async def _events(response: httpx.Response) -> AsyncGenerator[Event, None]:
    try:
        async for sent in EventSource(response).aiter_sse():
            if sent.event == "error":
                raise refusal(sent.data, response.status_code)
            event = event_of(sent.event, sent.data)
            if event is not None:
                yield event
    except httpx.HTTPError as error:  # SSEError, of a body that is no event stream, among it
        raise _broken(str(response.url), error) from error
    except (ValidationError, BadRequest) as error:
        raise _foreign() from error


async def _within(patience: Retries, work: Awaitable[T]) -> T:
    try:
        async with patience.deadline.timeout():
            return await work
    except TimeoutError as error:
        raise TimedOut("no answer within your timeout: allow more time, or fewer turns (max_turns)") from error


def _broken(url: str, error: httpx.HTTPError) -> RequestFailed:
    if isinstance(error, httpx.UnsupportedProtocol):
        return RequestFailed(f"an address begins with http:// or https://: is it http://{url.rpartition('://')[2]}?")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Unreachable(f"no answer from {url}: is the service running? Start one with `rsagent serve`", sent=False)
    if isinstance(error, httpx.TransportError) and not isinstance(error, SSEError):
        return Unreachable(f"the connection to {url} broke: the service was stopped or a proxy cut it", sent=True)
    return _foreign()


def _foreign() -> RequestFailed:
    return RequestFailed("what answers there does not speak as RSAgent does: check the address and the versions")
