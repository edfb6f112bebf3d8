"""JSON answers: what is found, how it is spelled, and what can be left out."""

from __future__ import annotations

import asyncio
import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.api.stage import FINISH, NO_TARGET, PNG, SEGMENT, Cast, call, on_stage, picture

from rsagent.api.answers import SegmentAnswer
from rsagent.errors import Overloaded, PolicyError, SegmenterError
from rsagent.masks import decode_mask
from rsagent.policy.fake import ScriptedPolicy
from rsagent.segmenter.fake import FakeSegmenter


async def test_a_form_gets_the_document_of_the_design() -> None:
    async with on_stage() as stage:
        response = await stage.post()
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert list(document) == ["id", "status", "stop_reason", "image", "objects", "turns", "timings_ms", "usage"]
    assert document["id"] == response.headers["x-request-id"]
    assert (document["status"], document["stop_reason"]) == ("segmented", "finished")
    assert document["image"] == {"width": 60, "height": 40}
    assert document["usage"]["turns"] == 2
    assert document["usage"]["image_encodes"] == 1
    assert set(document["timings_ms"]) == {"queue", "policy", "segmenter", "render", "total"}
    (found,) = document["objects"]
    assert found.items() >= {"mask_id": 1, "bbox": [15.0, 10.0, 45.0, 30.0], "score": 0.9}.items()


async def test_json_and_the_alias_answer_alike() -> None:
    body = {"image": base64.b64encode(PNG).decode(), "query": "the box"}
    async with on_stage() as stage:
        plain = await stage.client.post("/segment", json=body)
        data_url = {**body, "image": f"data:image/png;base64,{body['image']}"}
        address = await stage.client.post("/v1/segment", json=data_url)
    assert plain.json()["objects"] == address.json()["objects"]
    assert plain.status_code == address.status_code == 200


async def test_every_mask_format_holds_the_same_mask() -> None:
    async with on_stage() as stage:
        answers = [await stage.post(mask_format=mask_format) for mask_format in ("coco_rle", "png", "polygon")]
    objects = [SegmentAnswer.model_validate_json(answer.content).objects[0] for answer in answers]
    assert [found.mask.format for found in objects] == ["coco_rle", "png", "polygon"]
    first, *others = [decode_mask(found.mask) for found in objects]
    assert first.shape == (40, 60)
    assert first.sum() == objects[0].area > 0
    assert all(np.array_equal(first, other) for other in others)
    rows, columns = np.nonzero(first)
    assert objects[0].bbox == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


async def test_several_objects() -> None:
    script = (SEGMENT, call("segment", bbox_2d=[0, 0, 250, 250]), call("finish", mask_ids=[1, 2]))
    async with on_stage(Cast(script)) as stage:
        document = (await stage.post()).json()
    assert [found["mask_id"] for found in document["objects"]] == [1, 2]
    assert document["usage"]["image_encodes"] == 1


async def test_no_target() -> None:
    async with on_stage(Cast((NO_TARGET,))) as stage:
        document = (await stage.post()).json()
        assert stage.metric("requests_total", outcome="no_target") == 1
    assert (document["status"], document["stop_reason"], document["objects"]) == ("no_target", "no_target", [])
    assert document["turns"][0]["action"] == {"tool": "report_no_target", "reason": "nothing of the kind"}


async def test_a_spent_budget_leaves_the_best_guess_flagged() -> None:
    script = [call("segment", bbox_2d=[i, i, 500, 500]) for i in range(9)]
    async with on_stage(Cast(script)) as stage:
        document = (await stage.post(max_turns="3")).json()
    assert (document["status"], document["stop_reason"]) == ("incomplete", "turn_budget")
    assert [found["mask_id"] for found in document["objects"]] == [3]
    assert document["usage"]["turns"] == 3


async def test_garbage_from_the_policy_ends_incomplete() -> None:
    async with on_stage(Cast(("no call at all",))) as stage:
        document = (await stage.post()).json()
    assert (document["status"], document["stop_reason"]) == ("incomplete", "malformed_budget")
    assert document["turns"][0]["action"]["tool"] == "malformed"


@pytest.mark.parametrize(
    ("include", "turns", "thought"),
    [("", 0, None), ("turns", 2, None), ("turns,thoughts", 2, "about segment"), ("thoughts", 0, None)],
)
async def test_parts_can_be_left_out(include: str, turns: int, thought: str | None) -> None:
    async with on_stage() as stage:
        document = (await stage.post(include=include)).json()
    assert len(document["turns"]) == turns
    if turns:
        assert document["turns"][0]["thought"] == thought
        assert "overlay" not in document["turns"][0]


async def test_overlays_show_what_the_policy_saw() -> None:
    async with on_stage() as stage:
        document = (await stage.post(include="turns,overlays")).json()
    overlay = document["turns"][0]["overlay"]
    seen = Image.open(io.BytesIO(base64.b64decode(overlay["data"])))
    assert seen.format == "JPEG"
    assert seen.size == (overlay["width"], overlay["height"])


async def test_sampling_options_reach_the_policy() -> None:
    async with on_stage() as stage:
        await stage.post(temperature="0.7", seed="11")
        assert {(sampling.temperature, sampling.seed) for sampling in stage.policy.samplings} == {(0.7, 11)}


async def test_options_as_json_in_a_form() -> None:
    async with on_stage() as stage:
        response = await stage.post(options='{"mask_format": "png", "include": []}')
    assert response.json()["objects"][0]["mask"]["format"] == "png"
    assert response.json()["turns"] == []


async def test_the_picture_is_turned_upright() -> None:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(height=40, width=60)).save(buffer, "JPEG", exif=exif)
    async with on_stage() as stage:
        document = (await stage.post(image=buffer.getvalue())).json()
    assert document["image"] == {"width": 40, "height": 60}
    assert document["objects"][0]["mask"]["size"] == [60, 40]


async def test_a_deadline_without_a_mask_is_a_timeout() -> None:
    async with on_stage(Cast(segmenter=FakeSegmenter(delay=30))) as stage:
        response = await stage.post(deadline_ms="100")
        assert response.elapsed.total_seconds() < 3
        await stage.quiet()
    assert response.status_code == 504
    assert response.json().items() >= {"code": "timeout", "retryable": True}.items()


async def test_a_deadline_after_a_mask_is_an_incomplete_answer() -> None:
    policy = ScriptedPolicy(lambda history: SEGMENT, delay=0.6)
    async with on_stage(Cast(policy=policy)) as stage:
        document = (await stage.post(deadline_ms="1000")).json()
    assert (document["status"], document["stop_reason"]) == ("incomplete", "deadline")
    assert len(document["objects"]) == 1


async def test_half_a_character_from_the_policy_breaks_nothing() -> None:
    script = ("half \ud83d", SEGMENT.replace("about", "ab\udc00out"), call("report_no_target", reason="\ud800"))
    async with on_stage(Cast(script)) as stage:
        answer, events = await stage.post(), await stage.stream()
    assert answer.json()["turns"][1]["thought"] == "ab?out segment"
    assert events[-1].name == "final"


FAILURES: list[tuple[Any, int, str, bool]] = [
    (PolicyError("the policy engine does not answer"), 502, "policy_error", True),
    (Overloaded("the policy's queue is full", retry_after=3), 429, "overloaded", True),
]


@pytest.mark.parametrize(("failure", "status", "code", "retryable"), FAILURES)
async def test_a_failing_policy_is_a_problem(failure: Any, status: int, code: str, retryable: bool) -> None:
    async with on_stage(Cast(policy=ScriptedPolicy([SEGMENT], failure=failure))) as stage:
        response = await stage.post()
        assert stage.metric("requests_total", outcome=code) == 1
        assert stage.metric("inflight") == 0
    problem = response.json()
    assert response.status_code == problem["status"] == status
    assert (problem["code"], problem["retryable"], problem["detail"]) == (code, retryable, str(failure))
    assert response.headers.get("retry-after") == ("3" if status == 429 else None)


async def test_a_failing_segmenter_is_a_problem() -> None:
    async with on_stage(Cast(segmenter=FakeSegmenter(failure=SegmenterError("the segmenter failed")))) as stage:
        response = await stage.post()
    assert (response.status_code, response.json()["code"]) == (502, "segmenter_error")


class Broken(FakeSegmenter):
    """A segmenter with a bug."""

    async def segment(self, *_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("/srv/secret/path.py")


async def test_a_bug_shows_nothing_of_the_inside(caplog: pytest.LogCaptureFixture) -> None:
    async with on_stage(Cast(segmenter=Broken())) as stage:
        response = await stage.post()
        streamed = await stage.post(stream=True)
        assert stage.metric("requests_total", outcome="internal") == 2
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "internal"
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert "secret" not in response.text + streamed.text
    assert "ZeroDivisionError" in caplog.text
    assert response.json()["request_id"] in caplog.text


async def test_requests_do_not_leak_into_each_other() -> None:
    def script(history: Any) -> str:
        x = int(history[1].text.split()[1])
        turn = sum(message.role == "assistant" for message in history)
        return FINISH if turn else call("segment", bbox_2d=[x, x, x + 100, x + 100])

    async with on_stage(Cast(policy=ScriptedPolicy(script, piece_delay=0.001))) as stage:
        answers = await asyncio.gather(*(stage.post(f"box {x * 50}") for x in range(16)))
    boxes = [answer.json()["objects"][0]["bbox"][0] for answer in answers]
    assert boxes == [round(x * 50 / 999 * 60) for x in range(16)]
