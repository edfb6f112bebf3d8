from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.training.synthesis.studio import Blunt, acted, request, trajectory

from rsagent.training.synthesis.choosing import choose, composition, passes, rises, spread, water_fill
from rsagent.training.synthesis.records import Step, Trajectory


@cache
def good() -> Trajectory:
    return trajectory(acted(request(0)))


def changed(**meta: object) -> Trajectory:
    return good().model_copy(update={"meta": good().meta.model_copy(update=meta)})


def test_what_ends_well_passes() -> None:
    assert passes(good())
    assert passes(trajectory(acted(request())))
    assert passes(trajectory(acted(request(0), "mistaken")))


@pytest.mark.parametrize(
    "meta", [{"iou": 0.5}, {"stop": "repeat"}, {"stop": "turn_budget"}, {"stop": "no_target"}, {"meant": ()}]
)
def test_what_ends_badly_does_not(meta: dict[str, object]) -> None:
    assert not passes(changed(**meta))


def step(iou: float, slip: str = "") -> Step:
    return Step(tool="segment", thought="", frame=0, target=(0.0, 0.0, 9.0, 9.0), iou=iou, slip=slip)


def test_a_learnt_mask_must_better_the_one_before() -> None:
    assert rises([step(0.1, "mistaken"), step(0.9)])
    assert rises([step(0.8), step(0.7, "no gain")])
    assert not rises([step(0.8), step(0.7)])
    assert not rises([step(0.8), step(0.81)])


@given(
    sizes=st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.integers(0, 50), max_size=8),
    count=st.integers(0, 300),
    shares=st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.floats(0.01, 5), max_size=8),
)
def test_no_group_gives_more_than_it_has_and_none_is_missing(
    sizes: dict[str | int, int], count: int, shares: dict[str | int, float]
) -> None:
    taken = water_fill(sizes, count, shares)
    assert sum(taken.values()) == min(count, sum(sizes.values()))
    assert all(0 <= taken[key] <= sizes[key] for key in sizes)


def test_shares_are_kept_where_there_is_enough() -> None:
    assert water_fill({"a": 100, "b": 100}, 40, {"a": 3.0, "b": 1.0}) == {"a": 30, "b": 10}
    assert water_fill({"a": 5, "b": 100}, 40, {"a": 3.0, "b": 1.0}) == {"a": 5, "b": 35}


def test_lengths_are_balanced_within_a_shape() -> None:
    many = [changed().model_copy(update={"id": f"s{i}"}) for i in range(20)]
    longer = trajectory(acted(request(2), "mistaken"))
    few = [longer.model_copy(update={"id": f"l{i}"}) for i in range(3)]
    chosen = spread([*many, *few], 6, [lambda item: item.turns])
    assert sum(item.id[0] == "l" for item in chosen) == 3


def test_choosing_keeps_the_order_and_takes_no_more_than_there_is() -> None:
    items = [changed().model_copy(update={"id": f"s{i}"}) for i in range(7)]
    assert choose(items, 100) == items
    assert [item.id for item in choose(items, 3)] == sorted(item.id for item in choose(items, 3))


def test_the_composition_counts_what_is_learnt() -> None:
    words = composition(
        [good(), trajectory(acted(request(0), "mistaken")), trajectory(acted(request(0), segmenter=Blunt(0.4)))]
    )
    assert words.startswith("3 trajectories")
    assert "| corrected | 1 |" in words
    assert "| refined by clicks | 1 |" in words
