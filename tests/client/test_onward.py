"""What a mask was asked for by, through its refinements; and a user's points put to it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rsagent.agent.given import check
from rsagent.api.answers import ObjectDocument, TurnDocument
from rsagent.api.requests import Options
from rsagent.api.starting import moves
from rsagent.client.onward import Click, Prompt, nearest, prompts_of

WIDTH, HEIGHT = 60, 40


def turn(index: int, mask_id: int | None, thought: str | None = None, **action: Any) -> TurnDocument:
    told = {
        "index": index,
        "thought": thought,
        "observation": "",
        "mask_id": mask_id,
        "action": {"tool": "segment", **action},
        "timings_ms": {"policy": 0, "segmenter": 0, "render": 0},
        "tokens": {"prompt": 0, "cached": 0, "completion": 0},
    }
    return TurnDocument.model_validate(told)


def thing(mask_id: int, *bbox: float) -> ObjectDocument:
    mask = {"format": "coco_rle", "size": [1, 1], "counts": "1"}
    return ObjectDocument.model_validate({"mask_id": mask_id, "mask": mask, "bbox": bbox, "area": 1, "score": 1})


def test_a_chain_of_refinements_is_one_prompt() -> None:
    story = [
        turn(1, 1, "The dog.", bbox=(0, 0, 9, 9)),
        turn(2, 2, points=[(1, 1, 1)], base_mask=1),
        turn(3, None, tool="zoom", bbox=(0, 0, 9, 9)),
        turn(4, 3, points=[(2, 2, 0)], base_mask=2),
        turn(5, 4, points=[(8, 8, 1)]),
    ]
    found = prompts_of(story)
    assert found[3] == Prompt((0, 0, 9, 9), ((1, 1, 1), (2, 2, 0)), "The dog.")
    assert found[4] == Prompt(None, ((8, 8, 1),))


def test_points_are_about_what_they_are_nearest_to() -> None:
    objects = [thing(1, 0, 0, 9, 9), thing(2, 30, 30, 40, 40)]
    assert nearest(objects, [(12, 9, 1)]) == 1
    assert nearest(objects, [(39, 29, 0), (1, 1, 1)]) == 2
    assert nearest([], [(1, 1, 1)]) is None
    assert nearest(objects, []) is None


CLICK = st.tuples(st.floats(0, WIDTH), st.floats(0, HEIGHT), st.sampled_from((0, 1)))
BOX = st.tuples(st.floats(0, 20), st.floats(0, 15), st.floats(30, WIDTH), st.floats(20, HEIGHT))


@given(st.none() | BOX, st.lists(CLICK, max_size=20), st.lists(CLICK, min_size=1, max_size=20))
def test_what_comes_of_any_points_can_be_asked(box: Any, before: list[Click], points: list[Click]) -> None:
    prompt = Prompt(box, tuple(before)).pointed(points, WIDTH, HEIGHT)
    (asked,) = moves(Options.model_validate({"start": [prompt.move()]}).start)
    check([asked], WIDTH, HEIGHT, 16)
    if prompt.bbox is not None:
        x1, y1, x2, y2 = prompt.bbox
        assert all(x1 <= x <= x2 and y1 <= y <= y2 for x, y, label in points if label)
