"""The service as a contender: its real API over instant engines, read by the benchmark's own clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import httpx
import pytest
from loadtests.bench import clients
from loadtests.bench.account import of_answer
from loadtests.bench.recording import Library
from loadtests.bench.stand import InstantPolicy
from tests.loadtests.bench.staging import library

from rsagent.api.app import create_app
from rsagent.segmenter.fake import FakeSegmenter
from rsagent.service import open_service
from rsagent.settings import Settings


@asynccontextmanager
async def served(kept: Library, segmenter: FakeSegmenter) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings()
    async with open_service(settings, policy=InstantPolicy(kept), segmenter=segmenter) as service:
        app = create_app(settings, lambda _: nullcontext(service))
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
                yield http


async def test_a_recorded_episode_through_the_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "PATIENCE", 60.0)
    kept, [recording] = library(tmp_path, 4)
    segmenter = FakeSegmenter()
    async with served(kept, segmenter) as http:
        asked = await clients.ask(http, recording)
    assert len(asked.masks) == 4
    assert len(asked.gaps) == 3
    assert 0 < asked.first_byte <= asked.masks[0] <= asked.final
    assert asked.answer["stop_reason"] == "turn_budget"
    account = of_answer(asked.answer)
    assert (account.turns, account.decodes, account.encodes, account.images) == (4, 4, 1, 4)
    assert account.completion_tokens == sum(len(turn.ids) for turn in recording.turns)
    said = [(prompt.box, prompt.points) for prompt in segmenter.prompts]
    assert said == [(turn.prompt.box, turn.prompt.points) for turn in recording.turns]


async def test_a_refused_request_is_told(tmp_path: Path) -> None:
    kept, [recording] = library(tmp_path, 2)
    async with served(kept, FakeSegmenter()) as http:  # its longest deadline is shorter than the clients' patience
        with pytest.raises(RuntimeError, match="the service answered 4"):
            await clients.ask(http, recording)


async def test_events_are_read_wherever_they_are_cut() -> None:
    stream = b'event: accepted\ndata: {"a": 1}\nid: 1\n\n: still here\n\nevent: final\ndata: {}\n\n'

    async def cut(size: int) -> AsyncIterator[bytes]:
        for start in range(0, len(stream), size):
            yield stream[start : start + size]

    for size in (1, 7, len(stream)):
        found = [event async for event in clients.events(cut(size))]
        assert [name for name, _ in found if name] == [b"accepted", b"final"]
        assert found[0] == (b"accepted", b'{"a": 1}')
