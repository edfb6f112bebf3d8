"""The native dialect reads what it writes and makes `Malformed` of everything else."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsagent.agent import dialects
from rsagent.agent.actions import Finish, Malformed, MalformedKind, NoTarget, Segment, Zoom
from rsagent.agent.dialects import Dialect
from rsagent.agent.episode import begin, prompt_of, step
from rsagent.agent.state import EpisodeState, MaskRecord, Task
from rsagent.errors import NotConfigured
from rsagent.geometry import Point
from rsagent.policy.protocol import PolicyTurn, ViewSpec
from rsagent.segmenter.protocol import MaskCandidate, SegmentResult

NAMES = dialects.names()


def opened(dialect: Dialect) -> EpisodeState:
    """A state with one mask and one zoomed frame, the zoom last."""
    image = np.zeros((480, 640, 3), dtype=np.uint8)
    state = begin(Task(image, "id", "the cup", ViewSpec(256 * 256)), dialect)
    for action in (Segment((64, 48, 320, 240)), Zoom((320, 240, 640, 480))):
        reading = dialect.parse(dialect.write("look", action, state), state)
        answer = None
        if prompt_of(state, reading.action):
            mask = np.ones((480, 640), dtype=np.bool_)
            best = MaskCandidate(mask, np.zeros((2, 2), dtype=np.float32), 0.5)
            answer = SegmentResult(best, False, 0, 0, 1)
        state = step(state, dialect, PolicyTurn("x"), reading, answer).state
    return state


STATE = opened(dialects.get("qwen3-vl"))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
keys = st.sampled_from(["bbox_2d", "points", "mask_id", "mask_ids", "frame", "reason"])
numbers = st.integers(-10, 1100) | st.floats(-10, 1100) | st.just(10**400)
likely = st.lists(numbers, min_size=4, max_size=4) | st.lists(st.lists(numbers, min_size=3, max_size=3)) | numbers
calls = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["segment", "zoom", "finish", "report_no_target"]) | st.text(max_size=5),
        "arguments": st.dictionaries(keys, likely | json_values) | json_values,
    }
)


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert dialects.get("nano").parse(text, STATE).action is not None


@given(st.text().map(lambda text: f"<tool_call>{text}</tool_call>"))
def test_any_text_in_a_call_is_read(text: str) -> None:
    assert isinstance(dialects.get("nano").parse(text, STATE).action, Malformed)


@given(calls)
def test_any_call_is_an_action_inside_the_picture_or_malformed(call: dict[str, object]) -> None:
    action = dialects.get("qwen3-vl").parse(f"<tool_call>{json.dumps(call)}</tool_call>", STATE).action
    if isinstance(action, Segment | Zoom):
        x1, y1, x2, y2 = action.bbox or (0, 0, 1, 1)
        assert 0 <= x1 < x2 <= 640
        assert 0 <= y1 < y2 <= 480
        assert 0 <= action.frame < 2
    if isinstance(action, Segment):
        assert len(action.points) <= STATE.task.budget.points
        assert all(0 <= point.x <= 640 and 0 <= point.y <= 480 for point in action.points)
        assert action.base_mask in (None, 1)
    if isinstance(action, Finish):
        assert action.mask_ids == (1,)


def test_json_nested_without_end_is_malformed() -> None:
    text = f"<tool_call>{'[' * 9000}</tool_call>"
    assert isinstance(dialects.get("nano").parse(text, STATE).action, Malformed)


places = st.tuples(st.integers(0, 500), st.integers(0, 400), st.integers(30, 130), st.integers(30, 80)).map(
    lambda box: (float(box[0]), float(box[1]), float(box[0] + box[2]), float(box[1] + box[3]))
)


@pytest.mark.parametrize("name", NAMES)
@given(box=places, click=st.tuples(st.integers(0, 640), st.integers(0, 480), st.booleans()), base=st.booleans())
def test_a_written_segment_reads_back(
    name: str, box: tuple[float, float, float, float], click: tuple[int, int, bool], base: bool
) -> None:
    dialect = dialects.get(name)
    action = Segment(box, (Point(*click),), 1 if base else None, 0)
    reading = dialect.parse(dialect.write("it is here", action, STATE), STATE)
    assert reading.thought == "it is here"
    assert isinstance(reading.action, Segment)
    assert reading.action.bbox == pytest.approx(box, abs=6)
    assert reading.action.frame == 0
    assert reading.action.base_mask == action.base_mask
    assert reading.action.points[0].positive == click[2]
    assert (reading.action.points[0].x, reading.action.points[0].y) == pytest.approx(click[:2], abs=6)


@pytest.mark.parametrize("name", NAMES)
def test_a_speck_is_written_as_a_box(name: str) -> None:
    dialect = dialects.get(name)
    for speck in ((639.0, 479.0, 639.5, 479.5), (0.0, 0.0, 0.1, 0.1)):
        assert isinstance(dialect.parse(dialect.write("", Zoom(speck, 0), STATE), STATE).action, Zoom)


@pytest.mark.parametrize("action", [Finish((1,)), NoTarget("there is none"), NoTarget('a "quoted" reason')])
def test_endings_read_back(action: Finish | NoTarget) -> None:
    dialect = dialects.get("nano")
    assert dialect.parse(dialect.write("done", action, STATE), STATE).action == action


def test_an_action_speaks_of_the_latest_picture_unless_it_names_another() -> None:
    parse = dialects.get("qwen3-vl").parse
    latest = parse('<tool_call>{"name": "segment", "arguments": {"bbox_2d": [0, 0, 999, 999]}}</tool_call>', STATE)
    named = parse(
        '<tool_call>{"name": "segment", "arguments": {"bbox_2d": [0, 0, 999, 999], "frame": 0}}</tool_call>', STATE
    )
    assert latest.action == Segment((320, 240, 640, 480), frame=1)
    assert named.action == Segment((0, 0, 640, 480), frame=0)


def test_view_pixels_are_pixels_of_the_view() -> None:
    dialect = dialects.get("qwen2.5-vl")
    state = opened(dialect)
    width, height = state.frames[0].view
    arguments = {"bbox_2d": [0, 0, width // 2, height], "frame": 0}
    text = f"<tool_call>{json.dumps({'name': 'segment', 'arguments': arguments})}</tool_call>"
    assert dialect.parse(text, state).action == Segment((0, 0, 320, 480), frame=0)


@pytest.mark.parametrize(
    ("body", "kind", "advice"),
    [
        ("no call at all", MalformedKind.NO_CALL, "<tool_call>"),
        ("<tool_call>{</tool_call>", MalformedKind.BAD_JSON, "no valid JSON"),
        ("<tool_call>[1]</tool_call>", MalformedKind.BAD_JSON, "no JSON object"),
        ('<tool_call>{"name": "segment", "arguments": {"bbox_2d": [NaN, 0, 1, 1]}}', MalformedKind.BAD_JSON, "JSON"),
        ('<tool_call>{"name": "rm", "arguments": {}}', MalformedKind.UNKNOWN_TOOL, "segment, zoom, finish"),
        ('<tool_call>{"name": "segment", "arguments": 3}', MalformedKind.BAD_ARGUMENTS, "JSON object"),
        ('<tool_call>{"name": "segment", "arguments": {}}', MalformedKind.BAD_ARGUMENTS, "bbox_2d"),
        ('<tool_call>{"name": "zoom", "arguments": {"bbox_2d": [5, 5, 5, 9]}}', MalformedKind.BAD_ARGUMENTS, "x1 < x2"),
        ('<tool_call>{"name": "zoom", "arguments": {"bbox_2d": "all"}}', MalformedKind.BAD_ARGUMENTS, "four"),
        ('<tool_call>{"name": "segment", "arguments": {"points": [[1, 2, 3]]}}', MalformedKind.BAD_ARGUMENTS, "label"),
        ('<tool_call>{"name": "segment", "arguments": {"points": [[1, 2000, 1]]}}', MalformedKind.OUT_OF_BOUNDS, "999"),
        ('<tool_call>{"name": "zoom", "arguments": {"bbox_2d": [0, 0, 9, 9], "frame": 7}}',
         MalformedKind.UNKNOWN_FRAME, "0 to 1"),
        ('<tool_call>{"name": "finish", "arguments": {"mask_ids": [4]}}', MalformedKind.UNKNOWN_MASK, "1 to 1"),
        ('<tool_call>{"name": "finish", "arguments": {"mask_ids": []}}', MalformedKind.UNKNOWN_MASK, "1 to 1"),
    ],
)  # fmt: skip
def test_a_bad_call_is_told_what_is_valid(body: str, kind: MalformedKind, advice: str) -> None:
    action = dialects.get("qwen3-vl").parse(body, STATE).action
    assert isinstance(action, Malformed)
    assert action.kind is kind
    assert advice in action.advice
    assert len(action.excerpt) <= 200


def test_too_many_points_are_refused() -> None:
    call = {"name": "segment", "arguments": {"points": [[1, 1, 1]] * 17}}
    action = dialects.get("qwen3-vl").parse(f"<tool_call>{json.dumps(call)}", STATE).action
    assert isinstance(action, Malformed)
    assert "at most 16" in action.advice


def test_a_fenced_call_and_a_thought_without_tags_are_understood() -> None:
    text = 'I see it. <tool_call>\n```json\n{"name": "finish", "arguments": {"mask_ids": [1]}}\n```\n</tool_call>'
    reading = dialects.get("nano").parse(text, STATE)
    assert reading.action == Finish((1,))
    assert reading.thought == "I see it."


def test_finishing_before_any_mask_is_refused() -> None:
    dialect = dialects.get("nano")
    fresh = begin(STATE.task, dialect)
    action = dialect.parse('<tool_call>{"name": "finish", "arguments": {"mask_ids": [1]}}', fresh).action
    assert isinstance(action, Malformed)
    assert "call segment first" in action.advice


def test_an_empty_mask_is_told_as_such() -> None:
    dialect = dialects.get("qwen3-vl")
    logits = np.zeros((2, 2), dtype=np.float32)
    empty = MaskRecord(1, 1, 0, np.zeros((480, 640), dtype=np.bool_), logits, 0.1, (1.0, 2.0, 3.0, 4.0), 0)
    assert "empty" in dialect.observe_mask(empty, STATE.frames[0], STATE.task, 3)


def test_an_unknown_dialect_names_the_known_ones() -> None:
    with pytest.raises(NotConfigured, match="nano"):
        dialects.get("klingon")
