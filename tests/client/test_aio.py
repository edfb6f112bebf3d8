"""The asynchronous client against the shipped server, and against servers that misbehave."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.api.stage import FINISH, NO_TARGET, PNG, SEGMENT, Cast, on_air, picture

from rsagent.client import (
    Accepted,
    Action,
    Answer,
    AsyncClient,
    Proposed,
    RequestFailed,
    Thought,
    TimedOut,
    Unreachable,
)
from rsagent.client import retries as pauses
from rsagent.client.asking import Picture
from rsagent.errors import BadImage, BadQuery, PolicyError
from rsagent.policy.fake import ScriptedPolicy

BUSY = {"type": "urn:rsagent:problem:overloaded", "title": "Too Many Requests", "status": 429, "detail": "busy",
        "code": "overloaded", "request_id": "r", "retryable": True, "retry_after": 1}  # fmt: skip


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "FIRST", 0.001)


async def answer_document() -> dict[str, Any]:
    async with on_air(Cast([SEGMENT, FINISH])) as stage:
        document: dict[str, Any] = (await stage.post()).json()
        return document


def client_of(handler: Callable[[httpx.Request], httpx.Response], **arguments: Any) -> AsyncClient:
    return AsyncClient("http://stage", transport=httpx.MockTransport(handler), **arguments)


async def test_masks_are_arrays_of_the_pictures_size() -> None:
    async with on_air(Cast([SEGMENT, FINISH])) as stage, AsyncClient(stage.url) as client:
        answer = await client.segment(PNG, "the box")
    assert answer.status == "segmented"
    assert answer.mask.dtype == np.bool_
    assert answer.mask.shape == picture().shape[:2]
    (found,) = answer.objects
    assert found.area == found.mask.sum() == answer.mask.sum() > 0
    assert answer.turns[0].thought == "about segment"
    assert answer.usage.turns == 2
    assert answer.stop_reason == "finished"
    painted = answer.overlay(picture())
    assert (painted != picture()).any(axis=2)[answer.mask].all()


async def test_nothing_found_is_an_empty_mask() -> None:
    async with on_air(Cast([NO_TARGET])) as stage, AsyncClient(stage.url) as client:
        answer = await client.segment(PNG, "the box")
    assert answer.status == "no_target"
    assert answer.objects == ()
    assert answer.mask.shape == picture().shape[:2]
    assert not answer.mask.any()


async def test_events_come_in_order_and_typed() -> None:
    async with on_air(Cast([SEGMENT, FINISH])) as stage, AsyncClient(stage.url) as client:
        events = [event async for event in client.stream(PNG, "the box")]
    kinds = [type(event) for event in events if not isinstance(event, Thought)]
    assert kinds == [Accepted, Action, Proposed, Action, Answer]
    proposed = next(event for event in events if isinstance(event, Proposed))
    assert proposed.found.mask.shape == picture().shape[:2]
    assert "".join(event.text for event in events if isinstance(event, Thought)) == SEGMENT + FINISH


async def test_an_answer_can_be_gone_on_from() -> None:
    async with on_air(Cast([SEGMENT, FINISH])) as stage, AsyncClient(stage.url) as client:
        first = await client.segment(PNG, "the box")
        second = await client.segment(PNG, "the box", start=first.then(points=[(50, 20, 1), (3, 3, 0)]))
    assert [turn.given for turn in second.turns] == [True, False]
    assert list(stage.segmenter.prompts[-1].points) == [(50, 20, 1), (3, 3, 0)]
    box, before = stage.segmenter.prompts[-1].box, stage.segmenter.prompts[0].box
    assert box is not None
    assert before is not None
    assert before[2] < 50
    assert box[2] > 50, "the box is grown to hold what is meant, too"
    assert second.objects[0].mask[20, 50]


@pytest.mark.parametrize("kind", ["bytes", "path", "array", "pillow"])
async def test_a_picture_may_come_in_any_usual_form(kind: str, tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "picture.png"
    path.write_bytes(PNG)
    forms: dict[str, Picture] = {"bytes": PNG, "path": path, "array": picture(), "pillow": Image.fromarray(picture())}
    async with on_air() as stage, AsyncClient(stage.url) as client:
        answer = await client.segment(forms[kind], "the box")
    assert (answer.document.image.height, answer.document.image.width) == picture().shape[:2]


async def test_what_is_wrong_at_once_is_said_at_once() -> None:
    async with client_of(lambda _: httpx.Response(500)) as client:
        with pytest.raises(BadImage, match=r"uint8 \[H, W, 3\]"):
            await client.segment(np.zeros((4, 4), dtype=np.uint8), "x")
        with pytest.raises(BadImage, match="not int"):
            await client.segment(3, "x")  # type: ignore[arg-type]
        with pytest.raises(BadQuery, match="max_turns"):
            await client.segment(PNG, "x", max_turns=0)
        with pytest.raises(FileNotFoundError):
            await client.segment("nowhere.png", "x")


async def test_a_refusal_says_what_the_service_said() -> None:
    async with on_air() as stage, AsyncClient(stage.url) as client:
        with pytest.raises(RequestFailed, match="request ") as refused:
            await client.segment(b"no picture", "the box")
    assert refused.value.problem is not None
    assert refused.value.problem.status in (400, 415)


async def test_an_error_event_is_raised() -> None:
    cast = Cast(policy=ScriptedPolicy([SEGMENT], failure=PolicyError("the engine is gone")))
    async with on_air(cast) as stage, AsyncClient(stage.url) as client:
        with pytest.raises(RequestFailed, match="the engine is gone"):
            async for _ in client.stream(PNG, "the box"):
                pass


async def test_closing_a_stream_hangs_up_and_ends_the_episode() -> None:
    async with on_air(Cast(policy=ScriptedPolicy([SEGMENT], delay=30))) as stage, AsyncClient(stage.url) as client:
        async with aclosing(client.stream(PNG, "the box")) as events:
            async for _ in events:
                break
        await stage.quiet()


async def test_nobody_there_says_how_to_start_one() -> None:
    async with AsyncClient("http://127.0.0.1:9", retries=1) as client:
        with pytest.raises(Unreachable, match="rsagent serve"):
            await client.segment(PNG, "x")
        with pytest.raises(Unreachable, match="rsagent serve"):
            await anext(client.stream(PNG, "x"))
        assert not await client.ready()


async def test_ready_asks_the_service() -> None:
    async with on_air() as stage, AsyncClient(stage.url) as client:
        assert await client.ready()
        stage.policy.healthy = False
        assert not await client.ready()


@pytest.mark.parametrize("body", ["<html>", '{"detail": "x"}', "{}"])
async def test_another_server_is_told_apart(body: str) -> None:
    for status in (200, 404):
        async with client_of(lambda _, status=status: httpx.Response(status, text=body)) as client:  # type: ignore[misc]
            with pytest.raises(RequestFailed, match="check the address"):
                await client.segment(PNG, "x")
            with pytest.raises(RequestFailed):
                await anext(client.stream(PNG, "x"))


async def test_a_busy_service_is_asked_again_when_it_says() -> None:
    document = await answer_document()
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return (
            httpx.Response(429, json={**BUSY, "retry_after": 0})
            if len(seen) < 3
            else httpx.Response(200, json=document)
        )

    async with client_of(handler, api_key="secret") as client:
        assert (await client.segment(PNG, "x")).status == "segmented"
    assert len(seen) == 3
    assert len({request.headers["idempotency-key"] for request in seen}) == 1, "the service may know it is the same"
    assert seen[0].headers["authorization"] == "Bearer secret"


async def test_a_pause_longer_than_the_callers_timeout_is_not_waited_for() -> None:
    seen = 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal seen
        seen += 1
        return httpx.Response(429, json={**BUSY, "retry_after": 60}, headers={"Retry-After": "60"})

    async with client_of(handler, timeout=20) as client:
        with pytest.raises(RequestFailed, match="busy") as refused:
            await client.segment(PNG, "x")
    assert seen == 1
    assert refused.value.retry_after == 60


async def test_the_callers_timeout_ends_everything() -> None:
    async with on_air(Cast(policy=ScriptedPolicy([SEGMENT], delay=30))) as stage, AsyncClient(stage.url) as client:
        with pytest.raises(TimedOut, match="timeout"):
            async for _ in client.stream(PNG, "the box", timeout=0.3):
                pass
        with pytest.raises(TimedOut, match="timeout"):
            await client.segment(PNG, "the box", timeout=0.3)


@pytest.mark.parametrize(
    ("status", "tries"), [(400, 1), (401, 1), (422, 1), (429, 3), (500, 1), (502, 3), (503, 3), (504, 1)]
)
async def test_only_what_may_pass_is_tried_again(status: int, tries: int) -> None:
    seen = 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal seen
        seen += 1
        told = {**BUSY, "status": status, "retryable": status >= 429, "retry_after": None}
        return httpx.Response(status, content=json.dumps(told))

    async with client_of(handler, retries=2) as client:
        with pytest.raises(RequestFailed):
            await client.segment(PNG, "x")
    assert seen == tries


async def test_a_broken_connection_is_mended_only_where_the_work_is_not_done_twice() -> None:
    document, seen = await answer_document(), 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal seen
        seen += 1
        if seen % 2:
            raise httpx.ReadError("reset")
        return httpx.Response(200, json=document)

    async with client_of(handler) as client:
        assert (await client.segment(PNG, "x")).status == "segmented"
        with pytest.raises(Unreachable, match="broke"):
            await anext(client.stream(PNG, "x"))
    assert seen == 3


async def test_a_stream_that_is_cut_short_says_so() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        event = 'id: 1\nevent: thought\ndata: {"turn": 1, "text": "hm"}\n\nevent: news\ndata: {}\n\n'
        return httpx.Response(200, text=event, headers={"Content-Type": "text/event-stream"})

    async with client_of(handler) as client:
        events = client.stream(PNG, "x")
        assert isinstance(await anext(events), Thought)
        with pytest.raises(Unreachable, match="ended"):
            await anext(events)


async def test_an_address_without_its_scheme_is_told_so() -> None:
    async with AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(RequestFailed, match=r"is it http://127\.0\.0\.1:1"):
            await client.segment(PNG, "the cup")
