"""Whole turns on immutable states, without an engine."""

import numpy as np
import pytest
from tests.agent.playing import NATIVE, make_task, play_action, play_text

from rsagent.agent.actions import Finish, NoTarget, Segment, Zoom
from rsagent.agent.episode import begin, conclude, prompt_of, repeats
from rsagent.agent.state import Budget, EpisodeState, StopReason
from rsagent.geometry import Point
from rsagent.policy.protocol import ImagePart

BOX = Segment((10, 10, 40, 40))


def pictures(state: EpisodeState) -> list[ImagePart]:
    return [part for message in state.history for part in message.parts if isinstance(part, ImagePart)]


def test_an_episode_opens_with_the_whole_picture_and_the_request(state: EpisodeState) -> None:
    assert [message.role for message in state.history] == ["system", "user"]
    assert pictures(state)[0].pixels.shape == (state.frames[0].view[1], state.frames[0].view[0], 3)
    assert "the cup" in state.history[1].text
    assert state.stop is None


def test_the_history_only_grows(state: EpisodeState) -> None:
    later = play_action(play_action(play_text(state, "hm"), BOX), Zoom((0, 0, 48, 32)))
    assert later.history[: len(state.history)] == state.history
    assert [message.role for message in later.history[2:]] == ["assistant", "user"] * 3


def test_a_mask_is_shown_and_told(state: EpisodeState) -> None:
    after = play_action(state, BOX)
    (record,) = after.masks
    assert record.area == np.count_nonzero(record.mask) > 0
    assert after.turns[0].mask_id == 1
    assert "Mask 1" in after.turns[0].observation
    before, overlay = pictures(after)
    assert (before.pixels != overlay.pixels).any()


def test_a_follow_up_carries_the_mask_it_refines(state: EpisodeState) -> None:
    after = play_action(state, BOX)
    refine = Segment(points=(Point(20, 20), Point(30, 30, False)), base_mask=1)
    prompt = prompt_of(after, refine)
    assert prompt is not None
    assert prompt.base_logits is after.masks[0].logits
    assert prompt.points == ((20, 20, 1), (30, 30, 0))


def test_beyond_its_zooms_a_policy_is_told_so_and_goes_on() -> None:
    state = begin(make_task(budget=Budget(zooms=1)), NATIVE)
    once = play_action(state, Zoom((0, 0, 48, 32)))
    refused = play_action(once, Zoom((48, 0, 96, 64)))
    assert (len(once.frames), len(refused.frames)) == (2, 2)
    assert "No zoom is left" in refused.turns[1].observation
    assert refused.turns[1].frame is None
    assert refused.stop is None
    assert len(play_action(refused, BOX).masks) == 1


def test_a_zoom_shows_its_crop_and_becomes_the_latest_picture(state: EpisodeState) -> None:
    after = play_action(state, Zoom((48, 0, 96, 64)))
    frame = after.last_frame
    assert frame.index == 1
    assert frame.box[0] <= 48
    assert frame.box[2] == 96
    masked = play_action(after, Segment((50, 2, 70, 40), frame=1))
    assert masked.turns[-1].frame == 1
    x1, y1, x2, y2 = masked.masks[0].box
    assert (x1, y1, x2, y2) == pytest.approx((50, 2, 70, 40), abs=1.5)
    assert len(pictures(masked)) == 3


def test_a_mask_on_an_older_frame_is_drawn_there(state: EpisodeState) -> None:
    zoomed = play_action(state, Zoom((48, 0, 96, 64)))
    masked = play_action(zoomed, BOX)
    assert masked.turns[-1].frame == 0
    assert masked.last_frame.index == 0
    assert pictures(masked)[-1].pixels.shape == pictures(masked)[0].pixels.shape


def test_finishing_submits_what_it_names(state: EpisodeState) -> None:
    two = play_action(play_action(state, BOX), Segment((50, 10, 80, 40)))
    result = conclude(play_action(two, Finish((1, 2))))
    assert result.status == "segmented"
    assert [record.mask_id for record in result.masks] == [1, 2]
    assert result.union.sum() == sum(record.area for record in result.masks)
    assert len(conclude(play_action(two, Finish((2,)))).masks) == 1


def test_no_target_submits_nothing(state: EpisodeState) -> None:
    result = conclude(play_action(play_action(state, BOX), NoTarget("none")))
    assert result.status == "no_target"
    assert result.masks == ()
    assert not result.union.any()
    assert result.complete


def test_a_spent_budget_leaves_the_latest_mask_flagged() -> None:
    state = begin(make_task(budget=Budget(turns=2)), NATIVE)
    state = play_action(play_action(state, BOX), Segment((50, 10, 80, 40)))
    result = conclude(state)
    assert result.stop is StopReason.TURN_BUDGET
    assert result.status == "incomplete"
    assert [record.mask_id for record in result.masks] == [2]


def test_a_repeat_is_answered_by_words_and_then_ends_it(state: EpisodeState) -> None:
    once = play_action(state, BOX)
    assert repeats(once, once.turns[0].action)
    twice = play_action(once, BOX)
    assert len(twice.masks) == 1
    assert twice.stop is None
    assert "before" in twice.turns[-1].observation
    assert play_action(twice, BOX).stop is StopReason.REPEAT


def test_garbage_ends_with_its_budget(state: EpisodeState) -> None:
    for _ in range(3):
        assert state.stop is None
        state = play_text(state, "no call")
    assert state.stop is StopReason.MALFORMED_BUDGET
    assert conclude(state).masks == ()


def test_an_end_from_outside_keeps_the_best_hypothesis(state: EpisodeState) -> None:
    result = conclude(play_action(state, BOX), StopReason.DEADLINE)
    assert result.stop is StopReason.DEADLINE
    assert len(result.masks) == 1
    assert not result.complete


def test_an_empty_mask_is_never_the_best_hypothesis(state: EpisodeState) -> None:
    missed = play_action(play_action(state, BOX), Segment(points=(Point(1, 1),)))
    assert missed.masks[-1].area == 0
    assert "empty" in missed.turns[-1].observation
    assert conclude(missed, StopReason.DEADLINE).masks[0].mask_id == 1
