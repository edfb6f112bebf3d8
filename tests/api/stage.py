"""An application over scripted engines, and a client to call it with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray

from rsagent import imaging
from rsagent.api.app import create_app
from rsagent.api.house import House
from rsagent.api.server import Server
from rsagent.policy.fake import ScriptedPolicy
from rsagent.segmenter.fake import FakeSegmenter
from rsagent.service import open_service
from rsagent.settings import Settings


def call(name: str, **arguments: Any) -> str:
    """A turn as the nano policy writes it."""
    body = json.dumps({"name": name, "arguments": arguments})
    return f"<think>about {name}</think><tool_call>{body}</tool_call>"


SEGMENT = call("segment", bbox_2d=[250, 250, 750, 750])
FINISH = call("finish", mask_ids=[1])
NO_TARGET = call("report_no_target", reason="nothing of the kind")


def picture(height: int = 40, width: int = 60) -> NDArray[np.uint8]:
    """uint8 [H, W, 3]: a gradient."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 4, y * 6, (x + y) * 2], axis=-1).astype(np.uint8)


PNG = imaging.encode_png(picture())


@dataclass(frozen=True)
class ServerSentEvent:
    id: int
    name: str
    data: dict[str, Any]


def events_of(text: str) -> list[ServerSentEvent]:
    """The events of a stream, comments left out."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append(ServerSentEvent(int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


@dataclass(frozen=True)
class Stage:
    """A running application. `post` sends a form."""

    client: httpx.AsyncClient
    app: FastAPI
    policy: ScriptedPolicy
    segmenter: FakeSegmenter
    server: Server | None = None

    @property
    def url(self) -> str:
        assert self.server is not None, "only a stage on air has an address"
        return self.server.url

    @property
    def listening(self) -> Any:
        """The listening socket; what is set on it, connections inherit."""
        assert self.server is not None, "only a stage on air listens"
        return self.server.servers[0].sockets[0]

    @property
    def house(self) -> House:
        house: House = self.app.state.house
        return house

    async def post(
        self, query: str = "the box", image: bytes = PNG, *, stream: bool = False, **fields: Any
    ) -> httpx.Response:
        headers = {"Accept": "text/event-stream"} if stream else {}
        files = {"image": ("picture", image)}
        return await self.client.post("/v1/segment", data={"query": query, **fields}, files=files, headers=headers)

    async def stream(self, query: str = "the box", **fields: Any) -> list[ServerSentEvent]:
        response = await self.post(query, stream=True, **fields)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/event-stream")
        return events_of(response.text)

    def metric(self, name: str, **labels: str) -> float:
        value = self.house.service.metrics.registry.get_sample_value(f"rsagent_{name}", labels)
        return 0.0 if value is None else value

    async def quiet(self, seconds: float = 5.0) -> None:
        """Wait until nothing runs and every permit is back."""
        async with asyncio.timeout(seconds):
            while self.house.gate.running or self.policy.running or self.segmenter.running:
                await asyncio.sleep(0.01)


@dataclass(frozen=True)
class Cast:
    """Who plays: the policy's script, the segmenter, and settings by component."""

    script: Sequence[str] = (SEGMENT, FINISH)
    segmenter: FakeSegmenter = field(default_factory=FakeSegmenter)
    policy: ScriptedPolicy | None = None
    settings: dict[str, Any] = field(default_factory=dict)


@asynccontextmanager
async def on_stage(cast: Cast | None = None) -> AsyncIterator[Stage]:
    """The application in process: fast, but answers arrive whole and nobody can hang up."""
    cast = cast or Cast()
    app, policy = _app(cast)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        client = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://stage"))
        yield Stage(client, app, policy, cast.segmenter)


@asynccontextmanager
async def on_air(cast: Cast | None = None) -> AsyncIterator[Stage]:
    """The application on the shipped server, on a free port of the loopback."""
    cast = cast or Cast()
    app, policy = _app(cast)
    server = Server(app, Settings(server={"port": 0, **cast.settings.get("server", {})}).server)
    running = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(5):
            while not server.started:
                await asyncio.sleep(0.01)
        async with httpx.AsyncClient(base_url=server.url, timeout=10) as client:
            yield Stage(client, app, policy, cast.segmenter, server)
    finally:
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await running


def _app(cast: Cast) -> tuple[FastAPI, ScriptedPolicy]:
    policy = cast.policy or ScriptedPolicy(cast.script)
    settings = Settings(**cast.settings)
    return create_app(settings, lambda s: open_service(s, policy=policy, segmenter=cast.segmenter)), policy
