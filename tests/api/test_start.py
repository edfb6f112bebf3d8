"""`start`: an episode that goes on from a user's clicks and from an earlier answer's turns."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from tests.api.stage import FINISH, PNG, SEGMENT, Cast, call, on_stage

from rsagent.policy.fake import ScriptedPolicy

IMAGE = base64.b64encode(PNG).decode()
CLICK = {"tool": "segment", "points": [[30, 20, 1], [5, 5, 0]], "base_mask": 1}


def policy() -> ScriptedPolicy:
    """Finishes with the latest mask once there is one, looks for the first until then."""

    def reply(history: Any) -> str:
        masks = sum(message.role == "assistant" and '"segment"' in message.text for message in history)
        return call("finish", mask_ids=[masks]) if masks else SEGMENT

    return ScriptedPolicy(reply)


async def test_an_answers_turns_and_a_click_are_gone_on_from() -> None:
    async with on_stage(Cast(policy=policy())) as stage:
        first = (await stage.post()).json()
        told = [turn["action"] | {"thought": turn["thought"]} for turn in first["turns"] if turn["mask_id"]]
        second = await stage.post(start=json.dumps([*told, CLICK]))
        usage = stage.metric("tool_calls_total", tool="segment", result="ok")
    assert second.status_code == 200, second.text
    turns = second.json()["turns"]
    assert [turn.get("given", False) for turn in turns] == [True, True, False]
    assert turns[0]["action"] == first["turns"][0]["action"]
    assert turns[1]["action"]["points"] == CLICK["points"]
    assert second.json()["objects"][0]["mask_id"] == 2
    assert second.json()["usage"]["image_encodes"] == 0
    assert usage == 1, "what a user did is no action of the policy"


async def test_a_stream_tells_the_moves_too() -> None:
    async with on_stage(Cast(policy=policy())) as stage:
        start = json.dumps([{"tool": "segment", "bbox": [10, 10, 30, 30]}])
        events = await stage.stream(options=json.dumps({"start": json.loads(start), "max_turns": 1}))
    names = [event.name for event in events if event.name != "thought"]
    assert names == ["accepted", "action", "mask", "action", "final"]
    assert events[1].data["given"] is True
    assert events[0].data["max_turns"] == 2, "moves of the user's do not count as the policy's"


async def test_json_takes_it_among_the_options() -> None:
    async with on_stage(Cast([FINISH])) as stage:
        zoom = {"tool": "zoom", "bbox": [0, 0, 30, 30]}
        body = {"image": IMAGE, "query": "x", "options": {"start": [zoom, {"tool": "segment", "bbox": [1, 1, 9, 9]}]}}
        answer = await stage.client.post("/v1/segment", json=body)
    assert answer.json()["status"] == "segmented"


@pytest.mark.parametrize(
    ("start", "status", "words"),
    [
        ("no json", 400, "start is no JSON"),
        ('[{"tool": "segment", "points": [[61, 3, 1]]}]', 422, "start.0 has a point outside the picture (60 × 40"),
        (json.dumps([CLICK]), 422, "start.0 refines mask 1"),
        ('[{"tool": "finish", "mask_ids": [1]}]', 422, "start.0"),
        ('[{"tool": "segment", "bbox": [1, 2, 3, "x"]}]', 422, "start.0.segment.bbox"),
        ('[{"tool": "segment", "points": [[1, 2, 3]]}]', 422, "start.0.segment.points"),
        ('[{"tool": "zoom", "bbox": [0, 0, 9, 9], "wish": 1}]', 422, "start.0.zoom.wish is unknown"),
        (json.dumps([{"tool": "segment", "bbox": [0, 0, 9, n + 1]} for n in range(65)]), 422, "start"),
    ],
)
async def test_what_cannot_be_played_is_refused(start: str, status: int, words: str) -> None:
    async with on_stage() as stage:
        refused = await stage.post(start=start)
        streamed = await stage.post(start=start, stream=True)
    assert refused.status_code == streamed.status_code == status, refused.text
    assert words in refused.json()["detail"]
