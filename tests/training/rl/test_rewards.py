"""Each reward stays within its bounds, and moves the way it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsagent.agent.state import StopReason
from rsagent.training.rl import rewards
from rsagent.training.rl.rewards import REWARDS, WEIGHTS, judge, weighed
from rsagent.training.rl.trace import Click, Trace

shares = st.floats(0.0, 1.0)
stops = st.sampled_from(sorted(StopReason))


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Any episode that could have happened."""
    absent, stop, turns = draw(st.booleans()), draw(stops), draw(st.integers(1, 16))
    ious = [] if absent else draw(st.lists(shares, max_size=turns))
    spoiled = draw(st.integers(0, turns))
    clicks = st.builds(Click, st.booleans(), st.booleans(), st.booleans())
    return Trace(
        absent,
        stop,
        turns,
        tuple(ious),
        final=draw(shares) if ious and stop is not StopReason.NO_TARGET else 0.0,
        malformed=spoiled,
        thoughtless=draw(st.integers(0, turns - spoiled)),
        repeated=draw(st.integers(0, turns - spoiled)),
        redundant=draw(st.integers(0, max(0, len(ious) - 1))),
        clicks=tuple(draw(st.lists(clicks, max_size=6))),
    )


BOUNDS = {
    "form": (0, 1),
    "iou": (0, 1),
    "tier": (0, 1),
    "improvement": (0, 1),
    "overshoot": (-1, 0),
    "waste": (-1, 0),
    "length": (-16, 0),
    "clicks": (-1, 1),
    "stop": (0, 1),
    "no_target": (0, 1),
    "refusal": (-1, 0),
    "incomplete": (-1, 0),
}


@given(traces())
def test_each_reward_stays_within_its_bounds(trace: Trace) -> None:
    parts = judge(trace).parts
    assert set(parts) == set(BOUNDS) == set(WEIGHTS)
    for name, (low, high) in BOUNDS.items():
        assert low <= parts[name] <= high, name


def seen(*ious: float, final: float | None = None, stop: StopReason = StopReason.FINISHED) -> Trace:
    """An episode that showed masks of these IoUs and submitted the last."""
    return Trace(False, stop, len(ious) + 1, ious, ious[-1] if final is None else final)


@given(shares, shares)
def test_a_better_mask_is_worth_more(one: float, other: float) -> None:
    worse, better = sorted((one, other))
    assert judge(seen(better)).total >= judge(seen(worse)).total
    assert rewards.tier(seen(better)) >= rewards.tier(seen(worse))


@pytest.mark.parametrize(("iou", "worth"), [(0.81, 1.0), (0.8, 0.75), (0.7, 0.5), (0.5, 0.0), (0.0, 0.0)])
def test_tiers_begin_above_their_bound(iou: float, worth: float) -> None:
    assert rewards.tier(seen(iou)) == worth


@given(traces(), st.integers(1, 3))
def test_malformed_turns_cost_form(trace: Trace, more: int) -> None:
    spoiled = Trace(trace.absent, trace.stop, trace.turns + more, malformed=more)
    assert rewards.form(spoiled) == pytest.approx(1 - more / spoiled.turns)
    assert rewards.form(Trace(trace.absent, trace.stop, trace.turns)) == 1.0


@given(st.lists(shares, min_size=2, max_size=12))
def test_swinging_to_and_fro_farms_no_improvement(ious: list[float]) -> None:
    once, thrice = seen(*ious), seen(*(ious * 3))
    assert rewards.improvement(thrice) == rewards.improvement(once) == max(ious) - ious[0]


@given(st.lists(shares, min_size=1, max_size=8), shares)
def test_submitting_less_than_the_best_is_an_overshoot(ious: list[float], final: float) -> None:
    worth = rewards.overshoot(seen(*ious, final=final))
    assert worth == pytest.approx(-max(0.0, max(ious) - final))
    assert rewards.overshoot(seen(*ious, final=max(ious))) == 0.0


def test_calls_for_nothing_new_are_waste() -> None:
    assert rewards.waste(Trace(False, StopReason.REPEAT, 4, (0.5, 0.5), 0.5, repeated=1, redundant=1)) == -0.5
    assert rewards.waste(seen(0.5)) == 0.0
    assert rewards.waste(Trace(False, StopReason.REPEAT, 1, repeated=1, redundant=1)) == -1.0


@pytest.mark.parametrize(
    ("positive", "meant", "covered", "right"),
    [
        (True, True, False, True),  # adds what is missing
        (True, True, True, False),
        (True, False, False, False),
        (False, False, True, True),  # takes away what is too much
        (False, True, True, False),
        (False, False, False, False),
    ],
)
def test_a_click_is_right_where_the_mask_is_wrong(positive: bool, meant: bool, covered: bool, right: bool) -> None:
    click = Click(positive, meant, covered)
    assert click.right is right
    assert rewards.clicks(Trace(False, StopReason.FINISHED, 2, clicks=(click,))) == (1 if right else -1)


@pytest.mark.parametrize(
    ("trace", "worth"),
    [
        (seen(0.9), 1.0),  # stopped when it was good
        (seen(0.5), 0.0),  # stopped too early
        (seen(0.5, 0.9), 1.0),  # went on, then stopped
        (seen(0.9, 0.9), 0.5),  # went on with a good mask
        (seen(0.9, 0.3), 0.5),  # the good one is still there to be submitted
        (seen(0.5, stop=StopReason.TURN_BUDGET), 1.0),
        (seen(0.9, stop=StopReason.TURN_BUDGET), 0.0),
        (Trace(False, StopReason.MALFORMED_BUDGET, 3), 0.0),
    ],
)
def test_stopping_is_right_when_the_mask_is_good(trace: Trace, worth: float) -> None:
    assert rewards.stop(trace) == worth


def test_absence_is_to_be_said_of_the_absent_only() -> None:
    def said(absent: bool, stop: StopReason) -> tuple[float, float]:
        ended = Trace(absent, stop, 1)
        return rewards.no_target(ended), rewards.refusal(ended)

    assert said(True, StopReason.NO_TARGET) == (1.0, 0.0)
    assert said(False, StopReason.NO_TARGET) == (0.0, -1.0)
    assert said(True, StopReason.FINISHED) == said(False, StopReason.FINISHED) == (0.0, 0.0)


def test_an_answer_is_to_be_submitted() -> None:
    ends = {stop: rewards.incomplete(Trace(False, stop, 2)) for stop in StopReason}
    assert {stop for stop, worth in ends.items() if worth == 0} == {StopReason.FINISHED, StopReason.NO_TARGET}
    assert rewards.length(Trace(False, StopReason.FINISHED, 3)) == -3.0


@given(traces(), st.dictionaries(st.sampled_from(sorted(REWARDS)), st.floats(-2, 2)))
def test_the_total_is_the_weighted_sum(trace: Trace, weights: dict[str, float]) -> None:
    reward = judge(trace, weights)
    assert reward.total == pytest.approx(sum(weight * reward.parts[name] for name, weight in weights.items()))


@given(shares, st.floats(rewards.GOOD, 1.0))
def test_a_poor_first_mask_is_no_way_to_earn_more(first: float, then: float) -> None:
    assert judge(seen(max(first, then))).total >= judge(seen(first, then)).total


def test_how_episodes_end_is_ranked() -> None:
    assert judge(seen(1.0)).total > judge(seen(0.2, 1.0)).total > judge(seen(0.6)).total
    assert judge(seen(0.6)).total > judge(seen(0.6, stop=StopReason.TURN_BUDGET)).total
    assert judge(seen(0.0)).total > judge(Trace(False, StopReason.NO_TARGET, 1)).total


def test_weights_are_changed_by_name() -> None:
    assert weighed({"iou": 2.0})["iou"] == 2.0
    assert weighed({"clicks": 0.0})["iou"] == WEIGHTS["iou"]
    with pytest.raises(ValueError, match="no such reward: luck; there are form, iou"):
        weighed({"luck": 1.0})


def test_nothing_done_is_worth_nothing() -> None:
    assert rewards.form(Trace(False, StopReason.CANCELLED, 0)) == 0.0
    assert rewards.waste(Trace(False, StopReason.CANCELLED, 0)) == 0.0
    assert rewards.clicks(Trace(False, StopReason.CANCELLED, 0)) == 0.0
