"""Rule 15: a closed tool surface: whatever a policy writes is one of five actions, finite and inside the picture."""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass
from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st
from tests.agent.dialects.test_native import STATE, json_values

from rsagent.agent import dialects
from rsagent.agent.actions import Action, Malformed, Segment, Zoom

EDGE = st.sampled_from(
    ["NaN", "Infinity", "-Infinity", "1e999", "-1", "1e308", "0", "999", "1000", "[]", "{}", "null", '"/etc/passwd"',
     '"http://x"', "true", "9" * 400, "[[[[", '"__import__"']
)  # fmt: skip
NUMBERS = st.integers(-5, 1005).map(str) | st.floats().map(json.dumps) | EDGE
BOXES = st.lists(NUMBERS, min_size=0, max_size=5).map(lambda values: f"[{', '.join(values)}]")
POINTS = st.lists(BOXES, max_size=40).map(lambda values: f"[{', '.join(values)}]")
NAMES = st.sampled_from(["segment", "zoom", "finish", "report_no_target", "open", "exec", "../x"])


@st.composite
def calls(draw: st.DrawFn) -> str:
    """Texts that are nearly calls."""
    parts = {"bbox_2d": BOXES, "points": POINTS, "mask_id": NUMBERS, "mask_ids": BOXES, "frame": NUMBERS}
    chosen = draw(st.lists(st.sampled_from(sorted(parts)), max_size=4, unique=True))
    arguments = ", ".join(f'"{name}": {draw(parts[name])}' for name in chosen)
    return f'<tool_call>{{"name": "{draw(NAMES)}", "arguments": {{{arguments}}}}}</tool_call>'


def numbers(value: Any) -> list[float]:
    """Every number in an action."""
    if is_dataclass(value) and not isinstance(value, type):
        return [number for each in fields(value) for number in numbers(getattr(value, each.name))]
    if isinstance(value, tuple):
        return [number for each in value for number in numbers(each)]
    return [float(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


@given(st.sampled_from(dialects.names()), calls() | st.text() | json_values.map(json.dumps))
def test_any_text_is_a_sane_action_or_malformed(name: str, text: str) -> None:
    action = dialects.get(name).parse(text, STATE).action
    assert isinstance(action, get_args(Action))
    if isinstance(action, Malformed):
        return
    assert all(math.isfinite(number) for number in numbers(action))
    if isinstance(action, Segment | Zoom) and action.bbox is not None:
        x1, y1, x2, y2 = action.bbox
        assert 0 <= x1 < x2 <= 640
        assert 0 <= y1 < y2 <= 480
    if isinstance(action, Segment):
        assert len(action.points) <= STATE.task.budget.points
        assert all(0 <= point.x <= 640 and 0 <= point.y <= 480 for point in action.points)


def test_no_action_can_hold_a_path_an_address_or_code() -> None:
    """The only texts an action holds are words for people: a reason, an excerpt, advice."""
    texts = {each.name for kind in get_args(Action) for each in fields(kind) if "str" in str(each.type)}
    assert texts <= {"reason", "excerpt", "advice"}
