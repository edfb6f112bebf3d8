from __future__ import annotations

import pytest
from tests.training.synthesis.studio import Blunt, acted, request, trajectory

from rsagent.agent.actions import Finish, NoTarget, Segment, Zoom
from rsagent.agent.state import StopReason
from rsagent.training.synthesis.acting import NO_GAIN, PLANS, Plan
from rsagent.training.synthesis.choosing import passes
from rsagent.training.synthesis.expert import Habits
from rsagent.training.synthesis.transcript import shape
from rsagent.training.world.requests import Request


def test_a_good_mask_is_submitted_at_once() -> None:
    one = acted(request(0))
    assert [type(turn.action) for turn in one.state.turns] == [Zoom, Segment, Finish]
    assert one.iou > 0.9
    assert one.result.stop is StopReason.FINISHED


def test_a_mask_that_lacks_a_part_is_clicked_there_with_what_was_said_before() -> None:
    one = acted(request(0), segmenter=Blunt(lacking=0.4))
    asked = [turn.action for turn in one.state.turns if isinstance(turn.action, Segment)]
    assert len(asked) == 2
    (click,) = asked[1].points
    assert click.positive
    assert click.y > 200
    assert asked[1].base_mask == 1
    assert asked[1].bbox is not None
    assert one.slips == ("",) * len(one.slips)
    assert one.iou > 0.9
    assert "missing" in one.moves[2].thought
    assert shape(one) == "refined by clicks"


def test_a_click_that_gains_nothing_is_not_learnt_and_the_best_mask_is_submitted() -> None:
    one = acted(request(0), segmenter=Blunt(lacking=0.3, stubborn=True))
    assert one.slips.count(NO_GAIN) == 1
    assert isinstance(one.state.turns[-1].action, Finish)
    assert one.slips[-1] == ""
    assert shape(one) == "click undone"
    assert "Good enough" in one.moves[-1].thought


def test_without_clicks_the_first_mask_stands() -> None:
    one = acted(request(0), segmenter=Blunt(lacking=0.3), habits=Habits())
    assert sum(isinstance(turn.action, Segment) for turn in one.state.turns) == 1


@pytest.mark.parametrize("seed", range(6))
def test_a_wrong_object_is_seen_named_and_left(seed: int) -> None:
    one = acted(request(0), "mistaken", seed=seed)
    first = next(number for number, slip in enumerate(one.slips) if slip)
    assert one.slips[first] == "mistaken"
    assert one.ious[first] < 0.1
    assert first == 0
    assert "cat" in one.moves[1].thought or "key" in one.moves[1].thought
    assert one.iou > 0.9
    assert shape(one) == "corrected"
    assert trajectory(one).learnt[first] is False


def test_a_false_alarm_is_taken_back() -> None:
    one = acted(request(), "mistaken")
    assert one.slips == ("mistaken", "")
    assert isinstance(one.state.turns[-1].action, NoTarget)
    assert one.iou == 1.0
    assert shape(one) == "absent, after a false alarm"


def test_a_hurried_expert_makes_no_mistakes() -> None:
    for plan in PLANS:
        one = acted(request(0), plan, budget=2)
        assert one.slips == ("", "")
        assert shape(one) == "hurried"


def test_one_turn_leaves_the_mask_unsubmitted_but_scored() -> None:
    one = acted(request(0), budget=1)
    assert one.result.stop is StopReason.TURN_BUDGET
    assert one.iou > 0.9
    assert passes(trajectory(one))


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("dialect", ["nano", "qwen3-vl", "qwen2.5-vl"])
@pytest.mark.parametrize("targets", [(0,), (2,), (0, 1), ()])
def test_every_plan_in_every_dialect_ends_by_its_own_word(plan: Plan, dialect: str, targets: tuple[int, ...]) -> None:
    for seed in range(3):
        one = acted(request(*targets), plan, dialect=dialect, seed=seed)
        assert one.result.stop in (StopReason.FINISHED, StopReason.NO_TARGET)
        assert not any(turn.repeated for turn in one.state.turns)
        assert one.iou > 0.7


def test_words_vary_with_the_voice_and_are_the_same_for_the_same_one() -> None:
    said = {acted(request(0), habits=Habits(clicks=2, voice=voice)).moves[-1].thought for voice in range(12)}
    assert len(said) > 1
    again = [acted(request(0), habits=Habits(clicks=2, voice=5)).moves[-1].thought for _ in range(2)]
    assert again[0] == again[1]
    assert all(thought.startswith("The dog.") for thought in said)


def test_a_wrong_one_of_the_same_name_is_told_apart() -> None:
    one = acted(Request("the left animal", "attribute", (0,), "cat"), "mistaken")
    first = next(number for number, slip in enumerate(one.slips) if slip)
    assert one.moves[first].about is one.expert.order[0]
