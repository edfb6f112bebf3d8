"""GRPO's arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from rsagent.training.rl.objective import Clip, advantages, branching, divergence, surrogate, telling, weighed

rewards = st.lists(st.floats(-3, 3), min_size=2, max_size=16)
logs = arrays(np.float32, 12, elements=st.floats(-8, -0.0078125, width=32))


@given(rewards)
def test_a_groups_advantages_sum_to_nothing(values: list[float]) -> None:
    for scale in ("group", "none"):
        assert advantages(values, scale).sum() == pytest.approx(0, abs=1e-9)
    better = advantages(values, "group")
    if better.any():
        assert better.std() == pytest.approx(1)
        assert values[np.argmax(better)] == pytest.approx(max(values))


def test_a_group_rewarded_alike_teaches_nothing() -> None:
    assert not advantages([0.7, 0.7, 0.7 + 1e-6]).any()


def test_credit_goes_to_the_word_at_which_right_and_wrong_part() -> None:
    said = [(7, 1, 5), (7, 1, 6), (7, 2, 5), (7, 2)]
    due = [one.tolist() for one in branching(said, [1.0, 0.8, 0.0, 0.0])]
    assert due == [
        pytest.approx([0.0, 0.45, 0.1]),
        pytest.approx([0.0, 0.45, -0.1]),
        pytest.approx([0.0, -0.45, 0.0]),
        pytest.approx([0.0, -0.45]),
    ]


@given(st.lists(st.tuples(st.lists(st.integers(0, 2), max_size=5), st.floats(-3, 3)), max_size=9))
def test_what_is_due_adds_up_to_what_an_episode_gained_until_nobody_is_beside_it(
    group: list[tuple[list[int], float]],
) -> None:
    said, worth = [(*ids, 9) for ids, _ in group], [reward for _, reward in group]
    for k, due in enumerate(branching(said, worth)):
        beside = [worth[i] for i, other in enumerate(said) if other == said[k]]
        assert len(due) == len(said[k])
        assert due.sum() == pytest.approx(np.mean(beside) - np.mean(worth), abs=1e-9)
        alone = next((n for n in range(len(due)) if sum(one[:n] == said[k][:n] for one in said) == 1), len(due))
        assert not due[alone:].any()


@given(arrays(np.float64, 8, elements=st.floats(-1, 1)), st.floats(0, 0.5), st.floats(0, 1))
def test_little_is_left_out_and_blame_weighs_less(due: NDArray[np.float64], least: float, blame: float) -> None:
    found = weighed(due, least, blame)
    big = np.abs(due) >= least
    assert not found[~big].any()
    assert found[big & (due >= 0)].tolist() == due[big & (due >= 0)].tolist()
    assert found[big & (due < 0)] == pytest.approx(blame * due[big & (due < 0)])
    assert weighed(due, 0.0, 1.0).tolist() == due.tolist()


def test_without_scaling_the_spread_stays() -> None:
    assert advantages([0.0, 1.0], "none").tolist() == [-0.5, 0.5]


@given(logs, st.floats(-2, 2))
def test_on_the_policy_itself_the_gradient_is_reinforces(then: np.ndarray, advantage: float) -> None:
    before = torch.from_numpy(then)
    now = before.clone().requires_grad_(True)
    found = surrogate(now, before, torch.full_like(before, advantage), Clip())
    found.loss.backward()  # type: ignore[no-untyped-call]
    assert now.grad is not None
    assert now.grad.numpy() == pytest.approx(np.full(12, -advantage, np.float32), abs=1e-5)
    assert float(found.clipped) == 0


@pytest.mark.parametrize(
    ("ratio", "advantage", "moves"),
    [
        (1.27, 1.0, True),  # clip-higher: more room upwards …
        (1.29, 1.0, False),
        (0.81, -1.0, True),
        (0.79, -1.0, False),  # … than downwards
        (2.0, -1.0, True),  # what went the wrong way is always pulled back
        (0.5, 1.0, True),
    ],
)
def test_a_token_stops_moving_at_its_bound(ratio: float, advantage: float, moves: bool) -> None:
    then = torch.tensor([-1.0])
    now = (then + np.log(ratio)).requires_grad_(True)
    found = surrogate(now, then, torch.tensor([advantage]), Clip(0.2, 0.28))
    found.loss.backward()  # type: ignore[no-untyped-call]
    assert now.grad is not None
    assert bool(now.grad.abs() > 1e-6) is moves
    assert bool(found.clipped) is not moves


@given(logs, logs)
def test_divergence_is_never_negative_and_nothing_of_itself(one: np.ndarray, other: np.ndarray) -> None:
    now, reference = torch.from_numpy(one), torch.from_numpy(other)
    assert float(divergence(now, reference)) >= -1e-4
    assert float(divergence(now, now)) == 0


def test_groups_that_differ_go_on_then_those_that_went_badly() -> None:
    worth = [[1.0, 1.0], [0.1, 0.9], [0.0, 0.0], [0.9, 0.92]]
    assert telling(worth, 1) == [1]
    assert telling(worth, 2) == [1, 2]
    assert telling(worth, 3) == [1, 2, 3]
    assert telling(worth, 9) == [0, 1, 2, 3]
