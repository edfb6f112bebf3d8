"""Event streams: their order, their ids, their one end."""

from __future__ import annotations

import asyncio
import base64
from itertools import groupby
from typing import Any

import pytest
from tests.api.stage import FINISH, PNG, SEGMENT, Cast, call, events_of, on_air, on_stage

from rsagent.api import telling
from rsagent.errors import Overloaded, PolicyError
from rsagent.masks import encode_mask
from rsagent.policy.fake import ScriptedPolicy
from rsagent.segmenter.fake import FakeSegmenter


async def test_events_come_in_order_with_growing_ids() -> None:
    async with on_stage() as stage:
        events = await stage.stream()
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    kinds = [name for name, _ in groupby(event.name for event in events)]
    assert kinds == ["accepted", "thought", "action", "mask", "thought", "action", "final"]


async def test_a_mask_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[Any] = []

    def encode(mask: Any, kind: Any) -> Any:
        encoded.append(mask)
        return encode_mask(mask, kind)

    monkeypatch.setattr(telling, "encode_mask", encode)
    async with on_stage() as stage:
        events = await stage.stream()
    [mask] = [event.data for event in events if event.name == "mask"]
    [answered] = events[-1].data["objects"]
    assert answered["mask"] == mask["mask"]
    assert len(encoded) == 1


async def test_proxies_are_told_not_to_buffer() -> None:
    async with on_stage() as stage:
        response = await stage.post(stream=True)
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["cache-control"] == "no-store"
    assert "content-length" not in response.headers


async def test_accepted_says_what_was_understood() -> None:
    async with on_stage() as stage:
        first = (await stage.stream("  the   box ", max_turns="5", deadline_ms="9000"))[0]
    assert first.data.items() >= {"query": "the box", "max_turns": 5, "deadline_ms": 9000}.items()
    assert first.data["image"] == {"width": 60, "height": 40}


async def test_thoughts_are_the_policys_text_and_can_be_left_out() -> None:
    async with on_stage() as stage:
        events = await stage.stream()
        silent = await stage.stream(include="turns")
    text = "".join(event.data["text"] for event in events if event.name == "thought" and event.data["turn"] == 1)
    assert text == SEGMENT
    assert "thought" not in {event.name for event in silent}
    assert all("thought" not in event.data for event in silent if event.name == "action")


async def test_the_final_event_is_the_json_answer() -> None:
    async with on_stage() as stage:
        final = (await stage.stream())[-1].data
        answer = (await stage.post()).json()
    for changing in ("id", "timings_ms", "usage"):
        del final[changing], answer[changing]
    for turn in (*final["turns"], *answer["turns"]):
        del turn["timings_ms"]
    assert final == answer


@pytest.mark.parametrize("mask_format", ["coco_rle", "png", "polygon"])
async def test_masks_come_in_the_asked_format_with_an_overlay_if_asked(mask_format: str) -> None:
    async with on_stage() as stage:
        events = await stage.stream(mask_format=mask_format, include="overlays")
        plain = await stage.stream(mask_format=mask_format)
    mask = next(event.data for event in events if event.name == "mask")
    assert mask["mask"]["format"] == mask_format
    assert base64.b64decode(mask["overlay"]["data"]).startswith(b"\xff\xd8\xff")
    assert "overlay" not in next(event.data for event in plain if event.name == "mask")


async def test_a_zoom_is_told_with_the_frame_it_opened() -> None:
    script = (call("zoom", bbox_2d=[500, 500, 999, 999]), SEGMENT, FINISH)
    async with on_stage(Cast(script)) as stage:
        events = await stage.stream(include="overlays")
    zoom = next(event.data for event in events if event.name == "action")
    assert zoom["action"]["tool"] == "zoom"
    assert zoom["frame"] == {"index": 1, "box": [28, 8, 60, 40]}
    assert base64.b64decode(zoom["overlay"]["data"]).startswith(b"\xff\xd8\xff")


async def test_a_malformed_turn_is_told_with_the_advice_it_got() -> None:
    async with on_stage(Cast(("nothing", SEGMENT, FINISH))) as stage:
        events = await stage.stream()
    action = next(event.data for event in events if event.name == "action")
    assert action["action"]["tool"] == "malformed"
    assert action["observation"]
    assert events[-1].data["status"] == "segmented"


@pytest.mark.parametrize(
    ("failure", "code"), [(PolicyError("gone"), "policy_error"), (Overloaded("full", retry_after=2), "overloaded")]
)
async def test_a_failure_is_the_one_last_event(failure: Any, code: str) -> None:
    async with on_stage(Cast(policy=ScriptedPolicy([SEGMENT], failure=failure))) as stage:
        events = await stage.stream()
        assert stage.metric("requests_total", outcome=code) == 1
    assert events[-1].name == "error"
    assert events[-1].data.items() >= {"code": code, "detail": str(failure), "retryable": True}.items()
    assert [event.name for event in events if event.name in ("final", "error")] == ["error"]


async def test_a_deadline_is_the_one_last_event() -> None:
    async with on_stage(Cast(segmenter=FakeSegmenter(delay=30))) as stage:
        events = await stage.stream(deadline_ms="100")
    assert (events[-1].name, events[-1].data["code"]) == ("error", "timeout")


async def test_what_is_refused_is_refused_before_the_stream() -> None:
    async with on_stage() as stage:
        response = await stage.post("", stream=True)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"


async def test_events_arrive_while_the_episode_runs_and_comments_fill_the_silence() -> None:
    policy = ScriptedPolicy([SEGMENT, FINISH], piece=1000, delay=0.3)
    cast = Cast(policy=policy, settings={"server": {"keep_alive": 0.1}})
    arrivals: list[tuple[float, str]] = []
    async with on_air(cast) as stage:
        started = asyncio.get_running_loop().time()
        files = {"image": ("p", PNG)}
        accept = {"Accept": "text/event-stream"}
        async with stage.client.stream(
            "POST", "/v1/segment", data={"query": "x"}, files=files, headers=accept
        ) as response:
            async for text in response.aiter_text():
                arrivals.append((asyncio.get_running_loop().time() - started, text))
    body = "".join(text for _, text in arrivals)
    assert body.count(": keep-alive\n\n") >= 2
    assert [event.name for event in events_of(body)][-1] == "final"
    first_mask = next(at for at, text in arrivals if "event: mask" in text)
    assert first_mask < arrivals[-1][0] - 0.2
    assert arrivals[0][0] < first_mask - 0.2
