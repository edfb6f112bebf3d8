"""Choosing tokens."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rsagent.policy.protocol import Sampling
from rsagent.policy.sampling import Sampler, drawn, log_probability, nucleus

LOGITS = torch.log(torch.tensor([0.1, 0.6, 0.3]))


def test_temperature_zero_takes_the_likeliest() -> None:
    assert Sampler(Sampling()).choose(LOGITS) == 1


def test_a_seed_repeats_and_no_seed_varies() -> None:
    def draw(seed: int | None) -> list[int]:
        sampler = Sampler(Sampling(temperature=1.0, seed=seed))
        return [sampler.choose(torch.zeros(1000)) for _ in range(8)]

    assert draw(5) == draw(5)
    assert draw(5) != draw(6)
    assert draw(None) != draw(None)


def test_samples_follow_the_chances() -> None:
    sampler = Sampler(Sampling(temperature=1.0, seed=0))
    shares = torch.bincount(torch.tensor([sampler.choose(LOGITS) for _ in range(2000)]), minlength=3) / 2000
    torch.testing.assert_close(shares, LOGITS.exp(), atol=0.04, rtol=0)


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=20).filter(lambda chances: sum(chances) > 0.01), st.integers(0, 99)
)
def test_what_is_drawn_has_a_chance_whatever_they_add_up_to(chances: list[float], seed: int) -> None:
    dice = torch.Generator().manual_seed(seed)
    assert all(chances[drawn(torch.tensor(chances), dice)] > 0 for _ in range(5))


def test_a_low_temperature_sharpens() -> None:
    sampler = Sampler(Sampling(temperature=0.05, seed=0))
    assert {sampler.choose(LOGITS) for _ in range(50)} == {1}


@pytest.mark.parametrize(("top_p", "kept"), [(0.0, [1]), (0.5, [1]), (0.625, [1]), (0.75, [1, 2]), (1.0, [0, 1, 2])])
def test_the_nucleus_is_the_fewest_that_reach_top_p(top_p: float, kept: list[int]) -> None:
    assert (
        nucleus(torch.tensor([0.125, 0.625, 0.25]) if top_p > 0.61 else LOGITS.exp(), top_p).nonzero()[:, 0].tolist()
        == kept
    )


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=20), st.floats(0.01, 1))
def test_the_nucleus_reaches_top_p(logits: list[float], top_p: float) -> None:
    kept = nucleus(torch.softmax(torch.tensor(logits), -1), top_p)
    assert float(kept.sum()) >= top_p - 1e-5
    smallest = float(kept[kept > 0].min())
    assert float(kept.sum()) - smallest <= top_p + 1e-5


def test_top_p_is_used() -> None:
    sampler = Sampler(Sampling(temperature=1.0, top_p=0.5, seed=0))
    assert {sampler.choose(LOGITS) for _ in range(50)} == {1}


def test_log_probabilities_are_natural_and_those_that_are_sampled_by() -> None:
    assert log_probability(LOGITS + 3, 2) == pytest.approx(math.log(0.3))
    sharp = torch.softmax(LOGITS / 0.5, -1)
    assert [log_probability(LOGITS + 3, token, 0.5) for token in range(3)] == pytest.approx(sharp.log().tolist())
    assert log_probability(LOGITS, 1, 0.0) == pytest.approx(math.log(0.6))
