"""Ended episodes, counted."""

from __future__ import annotations

import numpy as np
import pytest
from tests.agent.playing import NATIVE, make_task, play_action, play_text

from rsagent.agent.actions import Action, Finish, NoTarget, Segment
from rsagent.agent.episode import begin, conclude
from rsagent.agent.state import StopReason
from rsagent.geometry import Point
from rsagent.segmenter.protocol import Mask
from rsagent.training.rl.trace import Trace, trace

LEFT, WHOLE = (0.0, 0.0, 48.0, 64.0), (0.0, 0.0, 96.0, 64.0)


def left_half() -> Mask:
    truth = np.zeros((64, 96), dtype=np.bool_)
    truth[:, :48] = True
    return truth


def traced(truth: Mask, *moves: Action | str) -> Trace:
    """An episode of these moves; the segmenter fills boxes."""
    state = begin(make_task(), NATIVE)
    for move in moves:
        state = play_text(state, move) if isinstance(move, str) else play_action(state, move)
    return trace(conclude(state, None if state.stop else StopReason.TURN_BUDGET), truth)


def test_masks_are_scored_in_order_and_the_submitted_one_last() -> None:
    found = traced(left_half(), Segment(WHOLE), Segment(LEFT), Finish((1,)))
    assert found.ious == pytest.approx((0.5, 1.0), abs=0.03)
    assert found.final == found.ious[0]
    assert (found.finished, found.refused, found.turns) == (True, False, 3)


def test_repeated_redundant_malformed_and_thoughtless_turns_are_counted() -> None:
    again = Segment((0.0, 0.0, 48.0, 63.5))
    silent = '<tool_call>{"name": "segment", "arguments": {"bbox_2d": [500, 0, 999, 999]}}</tool_call>'
    bad = ("no call at all", "<think></think>nothing")
    found = traced(left_half(), Segment(LEFT), again, Segment(LEFT), silent, *bad)
    assert (found.repeated, found.redundant, found.malformed, found.thoughtless) == (1, 1, 2, 1), "each turn once"


def test_clicks_are_judged_against_the_mask_they_refine() -> None:
    first = Segment(LEFT)
    fresh = Segment(points=(Point(10, 10, True), Point(90, 10, True)))
    refined = Segment(points=(Point(10, 10, True), Point(90, 10, False)), base_mask=1)
    found = traced(left_half(), first, fresh, refined)
    assert [click.right for click in found.clicks] == [True, False, False, False]


def test_an_absent_target_has_no_iou() -> None:
    nothing = np.zeros((64, 96), dtype=np.bool_)
    said = traced(nothing, NoTarget("no cup"))
    assert (said.absent, said.refused, said.final, said.ious) == (True, True, 0.0, ())
    assert traced(nothing, Segment(LEFT), Finish((1,))).ious == ()
