"""The pattern that guided decoding holds a turn to: it allows what is well-formed, and nothing else."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsagent.agent import dialects
from rsagent.agent.actions import Finish, Malformed, MalformedKind, NoTarget, Segment, Zoom
from rsagent.agent.dialects.pattern import turn_pattern
from rsagent.agent.episode import begin
from rsagent.agent.state import EpisodeState, Task
from rsagent.geometry import Point
from rsagent.policy.protocol import ViewSpec

SPEAKS = st.sampled_from(dialects.names())
UNIT = st.floats(0, 1)
SPAN = st.tuples(st.floats(0, 0.7), st.floats(0.1, 0.3))


def state_of(name: str) -> EpisodeState:
    image = np.zeros((90, 120, 3), np.uint8)
    return begin(Task(image, "id", "a cup", ViewSpec(50176)), dialects.get(name))


def box(across: tuple[float, float], down: tuple[float, float]) -> tuple[float, float, float, float]:
    return 120 * across[0], 90 * down[0], 120 * sum(across), 90 * sum(down)


BOXES = st.builds(box, SPAN, SPAN)
POINTS = st.lists(st.builds(lambda x, y, p: Point(119 * x, 89 * y, p), UNIT, UNIT, st.booleans()), max_size=5)
ACTIONS = st.one_of(
    st.builds(lambda bbox, points: Segment(bbox, tuple(points), None, 0), BOXES, POINTS),
    st.builds(lambda bbox: Zoom(bbox, 0), BOXES),
    st.builds(Finish, st.lists(st.integers(1, 16), min_size=1, max_size=4, unique=True).map(tuple)),
    st.builds(NoTarget, st.text("abc é,.'", max_size=40)),
)


@given(SPEAKS, ACTIONS, st.text("abc é,.\n", max_size=60))
def test_whatever_an_expert_writes_matches(name: str, action: Segment | Zoom | Finish | NoTarget, thought: str) -> None:
    dialect = dialects.get(name)
    assert re.fullmatch(turn_pattern(dialect), dialect.write(thought, action, state_of(name)))


@given(st.data(), SPEAKS)
def test_whatever_matches_is_read(data: st.DataObject, name: str) -> None:
    dialect = dialects.get(name)
    text = data.draw(st.from_regex(turn_pattern(dialect), fullmatch=True))
    action = dialect.parse(text, state_of(name)).action
    if isinstance(action, Malformed):
        # Which masks and frames there are, and on which side of a box its corners lie, no pattern can say.
        assert action.kind is not MalformedKind.BAD_JSON
        assert action.kind is not MalformedKind.NO_CALL
        assert action.kind is not MalformedKind.UNKNOWN_TOOL


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<think>a</think>",
        '<tool_call>{"name": "finish", "arguments": {"mask_ids": [1]}}</tool_call>',
        '<think>a</think><tool_call>{"name": "finish", "arguments": {"mask_ids": []}}</tool_call>',
        '<think>a</think><tool_call>{"name": "segment", "arguments": {}}</tool_call>',
        '<think>a</think><tool_call>{"name": "segment", "arguments": {"bbox_2d": [1, 2, 3]}}</tool_call>',
        '<think>a</think><tool_call>{"name": "segment", "arguments": {"bbox_2d": [1, 2, 3, 1000]}}</tool_call>',
        '<think>a</think><tool_call>{"name": "segment", "arguments": {"bbox_2d": [01, 2, 3, 4]}}</tool_call>',
        '<think>a</think><tool_call>{"name": "delete", "arguments": {}}</tool_call>',
    ],
)
def test_what_is_no_call_does_not_match(text: str) -> None:
    assert not re.fullmatch(turn_pattern(dialects.get("nano")), text)
