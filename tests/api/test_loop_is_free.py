"""Nothing that takes time runs on the event loop: not pictures, not masks, not models, not files, no waiting call.

Every call that the loop's thread makes while requests are served is looked at, by name and not by the clock.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import numpy as np
import pytest
from tests.api.stage import FINISH, SEGMENT, Cast, on_stage
from tests.policy.server import USAGE, FakeServer, chunk, serving
from tests.segmenter.serve.replicas import SETTINGS, TinyReplica

from rsagent import imaging
from rsagent.api.app import create_app
from rsagent.engines.router import RoutedPolicy
from rsagent.policy.openai import OpenAIPolicy
from rsagent.policy.settings import OpenAIPolicySettings
from rsagent.segmenter.protocol import Image
from rsagent.segmenter.serve.client import RemoteSegmenter
from rsagent.segmenter.serve.wire import Ask, Reply, Standing
from rsagent.service import open_service
from rsagent.settings import Settings

LARGE = np.random.default_rng(1).integers(0, 255, (896, 1152, 3), dtype=np.uint8)

HEAVY = ("rsagent.imaging", "rsagent.masks", "rsagent.agent.render", "rsagent.segmenter.core", "cv2", "PIL", "torch")
"""Modules whose code works on pixels, masks and models."""

WAITING = {"sleep", "open", "fsync", "connect", "getaddrinfo", "wait", "imdecode", "imencode", "compress"}
"""Names of built-in calls that wait, or work long. An event loop's own waiting is in `select`, and its sockets do not
block."""


class Watch:
    """What the thread that made it calls, of `HEAVY` and of `WAITING`."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self.seen: set[str] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        assert threading.get_ident() == self._thread, "a profile function is one thread's"
        module = str(frame.f_globals.get("__name__", ""))
        if event == "call" and any(module == name or module.startswith(f"{name}.") for name in HEAVY):
            self.seen.add(f"{module}.{frame.f_code.co_name}")
        elif event == "c_call" and argument.__name__ in WAITING:
            self.seen.add(f"{module} calls {argument.__name__}")


@contextmanager
def watched() -> Iterator[Watch]:
    watch = Watch()
    sys.setprofile(watch)
    try:
        yield watch
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("stream", [False, True])
async def test_requests_leave_the_loop_free(stream: bool) -> None:
    picture = await asyncio.to_thread(imaging.encode_jpeg, LARGE)
    async with on_stage(Cast(script=(SEGMENT, SEGMENT.replace("750", "760"), FINISH))) as stage:
        await stage.post(image=picture, stream=stream, include="overlays,turns")  # what is imported, is imported then
        with watched() as watch:
            response = await stage.post(image=picture, stream=stream, include="overlays,turns")
    assert response.status_code == 200, response.text
    assert watch.seen == set()


@contextmanager
def elsewhere() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop on a thread of its own, for what would be other processes."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Remote:
    """Replicas whose code runs on another loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._replica = loop, TinyReplica(SETTINGS)

    async def ask(self, ask: Ask, image: Image | None = None) -> Reply:
        reply: Reply = await self._there(self._replica.segment(ask, image))
        return reply

    async def standing(self) -> Standing:
        standing: Standing = await self._there(self._replica.standing())
        return standing

    async def _there(self, call: Coroutine[Any, Any, Any]) -> Any:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self._loop))


def _streamed(text: str) -> Sequence[dict[str, Any]]:
    pieces = [chunk(text[start : start + 8]) for start in range(0, len(text), 8)]
    return (*pieces, chunk(finish_reason="stop"), USAGE)


async def test_the_clients_of_remote_engines_leave_it_free_too() -> None:
    picture = await asyncio.to_thread(imaging.encode_jpeg, LARGE)
    turns = [_streamed(turn) for turn in (SEGMENT, SEGMENT.replace("750", "760"), FINISH)]
    with elsewhere() as other:
        fake = FakeServer(answers=[*turns, *turns])
        server = serving(fake)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(server.__aenter__(), other))
        named = OpenAIPolicySettings(base_url=fake.url, server="vllm", dialect="nano", max_pixels=224 * 224, factor=32)
        policy, segmenter = RoutedPolicy([OpenAIPolicy(named)]), RemoteSegmenter(Remote(other), "tiny")
        app = create_app(Settings(), lambda each: open_service(each, policy=policy, segmenter=segmenter))
        try:
            async with app.router.lifespan_context(app):
                transport = httpx.ASGITransport(app, raise_app_exceptions=False)
                async with httpx.AsyncClient(transport=transport, base_url="http://stage") as client:
                    request = partial(client.post, "/v1/segment", data={"query": "the box"}, files={"image": picture})
                    await request()
                    with watched() as watch:
                        response = await request()
        finally:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), other))
    assert response.status_code == 200, response.text
    assert response.json()["usage"]["turns"] == 3
    assert (len(fake.bodies), segmenter.images_sent) == (6, 1)
    assert watch.seen <= {"asyncio.selector_events calls connect"}  # of a socket that does not block


def test_what_would_block_it_is_seen(tmp_path: Path) -> None:
    with watched() as watch:
        imaging.encode_jpeg(LARGE)
        time.sleep(0)
        (tmp_path / "file").write_bytes(b"")
    assert {"rsagent.imaging.encode_jpeg", f"{__name__} calls sleep", "pathlib calls open"} <= watch.seen
