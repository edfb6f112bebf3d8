"""A small OpenAI-compatible server to misbehave on request."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def chunk(text: str | None = None, **choice: Any) -> dict[str, Any]:
    """A chunk of a chat completion."""
    return {"choices": [{"index": 0, "delta": {"content": text} if text else {}, **choice}]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 30, "completion_tokens": 4, "prompt_tokens_details": None}}
GOOD = (chunk("<think>a"), chunk("b</think>"), chunk(finish_reason="stop"), USAGE)


@dataclass
class FakeServer:
    """Answers each completion by the next of `answers` (the last repeats): chunks to stream, an (HTTP status, headers)
    pair, or text to send as it is. After the chunks it stays silent if `hang` is set."""

    answers: list[Sequence[dict[str, Any]] | tuple[int, dict[str, str]] | str] = field(default_factory=lambda: [GOOD])
    hang: bool = False
    models: Any = field(default_factory=lambda: {"data": [{"id": "served"}]})
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    disconnects: int = 0
    url: str = ""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["path"].endswith("/models"):
            await _respond(send, 200, json.dumps(self.models).encode(), {})
            return
        self.headers.append({key.decode(): value.decode() for key, value in scope["headers"]})
        self.bodies.append(json.loads(await _read(receive)))
        answer = self.answers[min(len(self.bodies), len(self.answers)) - 1]
        if isinstance(answer, str):
            await _respond(send, 200, answer.encode(), {})
        elif answer and isinstance(answer[0], int):
            await _respond(send, answer[0], b'{"error": {"message": "secret inside"}}', answer[1])
        else:
            await self._stream(answer, receive, send)

    async def _stream(self, chunks: Sequence[Any], receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for each in chunks:
            data = f": a comment\n\ndata: {json.dumps(each)}\n\n".encode()
            await send({"type": "http.response.body", "body": data, "more_body": True})
        if self.hang:
            while (await receive())["type"] != "http.disconnect":
                pass
            self.disconnects += 1
            return
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def _read(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _respond(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    pairs = [(key.encode(), value.encode()) for key, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(fake: FakeServer) -> AsyncIterator[FakeServer]:
    """Run it on a free port of this machine, in this event loop."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        fake.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        config = uvicorn.Config(fake, log_level="critical", lifespan="off", ws="none", timeout_graceful_shutdown=1)
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        # `serve()` would also take the signals, and looks only every 0.1 s whether it should stop.
        await server.startup(sockets=[listener])
        yield fake
        await server.shutdown(sockets=[listener])
