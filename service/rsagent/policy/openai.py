"""A policy behind an OpenAI-compatible server: vLLM, llama.cpp, or any other that streams chat completions."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Set
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from rsagent.deadline import Deadline
from rsagent.errors import ContextOverflow, Overloaded, PolicyError, RSAgentError
from rsagent.observing import logs, tracing
from rsagent.policy.chat import ImageWriter, images_of, openai_messages
from rsagent.policy.completions import DONE, Answer, events, parse_chunk, request_body
from rsagent.policy.faults import ServerDown, error_of, excerpt, faults
from rsagent.policy.protocol import History, ImagePart, PolicyTurn, Sampling, TextDelta, ViewSpec
from rsagent.policy.settings import OpenAIPolicySettings

log = logging.getLogger(__name__)

REMEMBERED_IMAGES = 4096
READY_SECONDS = 2.0


class _Refused(Exception):
    """The server answered with an error before any text; `error` is what we make of it."""

    def __init__(self, error: RSAgentError, status: int) -> None:
        super().__init__(str(error))
        self.error = error
        self.status = status


@dataclass(frozen=True, slots=True)
class _Body:
    """A request as it is sent, and how many bytes of it are pictures."""

    content: bytes
    image_bytes: int


class OpenAIPolicy:
    """Streams turns from a server. Closing a turn's iterator closes its connection, which ends the generation there.

    `image_bytes_sent` counts the bytes of images as sent, in data URLs. With a `pattern` (a regular expression that a
    whole turn matches), vLLM samples nothing else; other servers are not told of it.
    """

    def __init__(
        self,
        settings: OpenAIPolicySettings,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        pattern: str | None = None,
    ) -> None:
        self._settings = settings
        self._pattern = pattern
        self._model = settings.model
        self._vllm = settings.server == "vllm"
        self._images = ImageWriter(settings.image_format)
        self._known: OrderedDict[str, None] = OrderedDict()
        self._running = 0
        self._http = _client(settings, transport)
        self.image_bytes_sent = 0

    @property
    def name(self) -> str:
        return self._model or "openai"

    @property
    def dialect(self) -> str:
        return self._settings.dialect

    @property
    def view(self) -> ViewSpec:
        settings = self._settings
        return ViewSpec(settings.max_pixels, settings.factor, settings.min_pixels)

    async def act(
        self, history: History, sampling: Sampling, deadline: Deadline
    ) -> AsyncGenerator[TextDelta | PolicyTurn, None]:
        """See `Policy.act`. On servers other than vLLM `token_ids` stays empty: they do not tell them."""
        deadline.check()
        with self._place():
            for last in (False, True):
                try:
                    async with aclosing(self._attempt(history, sampling, deadline)) as turn:
                        async for event in turn:
                            yield event
                    return
                except _Refused as refused:
                    if last or not self._could_be_a_miss(history, refused):
                        raise refused.error from refused
                # The server no longer has an image that we only named: it is sent again.
                for image in images_of(history):
                    self._known.pop(image.uuid, None)

    async def ready(self) -> bool:
        """Whether the server lists its models."""
        try:
            response = await self._http.get("models", timeout=READY_SECONDS)
        except httpx.HTTPError:
            return False
        return response.is_success

    async def close(self) -> None:
        await self._http.aclose()

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._running >= self._settings.max_concurrent:
            raise Overloaded("too many turns are under way at the policy server; retry in a moment", retry_after=1.0)
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    def _could_be_a_miss(self, history: History, refused: _Refused) -> bool:
        named = self._vllm and any(image.uuid in self._known for image in images_of(history))
        return named and refused.status in (400, 404, 422, 500) and not isinstance(refused.error, ContextOverflow)

    async def _attempt(
        self, history: History, sampling: Sampling, deadline: Deadline
    ) -> AsyncGenerator[TextDelta | PolicyTurn, None]:
        answer = Answer(sampling)
        async with self._stream(await self._body(history, sampling, deadline), deadline) as response:
            data = events(response.aiter_lines())
            while (event := await _next(data, deadline)) not in (None, DONE):
                if text := self._take(answer, event or ""):
                    yield TextDelta(text)
        if not answer.finished:
            raise ServerDown("the policy server broke off in the middle of a turn; retry, and look at its log")
        self._remember(history)
        if rest := answer.close():
            yield TextDelta(rest)
        yield answer.turn()

    def _take(self, answer: Answer, data: str) -> str:
        chunk = parse_chunk(data)
        if chunk.error is not None:
            log.warning("the policy server reports: %.500s", chunk.error)
            failure = ServerDown("the policy server failed during this turn; retry, and look at its log")
            raise failure if answer.text else _Refused(failure, 500)
        return answer.add(chunk)

    async def _body(self, history: History, sampling: Sampling, deadline: Deadline) -> _Body:
        model = self._model or await self._discover(deadline)
        images = images_of(history)
        known = {image.uuid for image in images if image.uuid in self._known} if self._vllm else None
        if all(known is not None and image.uuid in known for image in images):
            return self._write(model, history, sampling, known)
        # Encoding pictures, and writing them into JSON, takes milliseconds.
        return await asyncio.to_thread(self._write, model, history, sampling, known)

    def _write(self, model: str, history: History, sampling: Sampling, known: Set[str] | None) -> _Body:
        sent = 0

        def part(image: ImagePart) -> dict[str, Any]:
            nonlocal sent
            written = self._images.part(image, known)
            sent += len((written["image_url"] or {"url": ""})["url"])
            return written

        messages = openai_messages(history, part)
        body = request_body(model, messages, sampling, vllm=self._vllm, pattern=self._pattern)
        return _Body(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(), sent)

    async def _discover(self, deadline: Deadline) -> str:
        """The first model that the server lists."""
        with faults(deadline):
            async with deadline.timeout():
                response = await self._http.get("models")
        if not response.is_success:
            raise error_of(response)
        try:
            self._model = str(response.json()["data"][0]["id"])
        except (ValueError, LookupError, TypeError) as error:
            raise PolicyError("the policy server lists no model; set the policy's model by name") from error
        return self._model

    @asynccontextmanager
    async def _stream(self, body: _Body, deadline: Deadline) -> AsyncIterator[httpx.Response]:
        told = {"Content-Type": "application/json", "X-Request-ID": logs.request_id.get(), **tracing.headers()}
        request = self._http.build_request("POST", "chat/completions", content=body.content, headers=told)
        self.image_bytes_sent += body.image_bytes
        with faults(deadline):
            async with deadline.timeout():
                response = await self._http.send(request, stream=True)
        try:
            if not response.is_success:
                raise _Refused(error_of(response, await excerpt(response, deadline)), response.status_code)
            yield response
        finally:
            await response.aclose()

    def _remember(self, history: History) -> None:
        for image in images_of(history):
            self._known[image.uuid] = None
            self._known.move_to_end(image.uuid)
        while len(self._known) > REMEMBERED_IMAGES:
            self._known.popitem(last=False)


def _client(settings: OpenAIPolicySettings, transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
    key = settings.api_key.get_secret_value() if settings.api_key else None
    return httpx.AsyncClient(
        base_url=settings.base_url.rstrip("/") + "/",
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(settings.stall_timeout, connect=settings.connect_timeout),
        # Servers (vLLM's uvicorn) close what was idle for five seconds; a request must not go out at that very moment.
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=2.0),
        transport=transport,
        # Proxies and credentials come from the settings root or not at all.
        trust_env=False,
    )


async def _next(data: AsyncIterator[str], deadline: Deadline) -> str | None:
    """The next event's data; None at the end of the stream."""
    with faults(deadline):
        async with deadline.timeout():
            return await anext(data, None)
