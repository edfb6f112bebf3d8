"""Rules of place: clear cases are decided, arguable ones are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsagent.training.world.layout import EXTREMES, Extreme, Side, beside, extreme, gap
from rsagent.training.world.scene import Placed


def block(x: int, y: int, wide: int, high: int) -> Placed:
    mask = np.zeros((100, 200), np.bool_)
    mask[y : y + high, x : x + wide] = True
    return Placed("block", 0, 0, mask, (x, y, x + wide, y + high))


blocks = st.builds(block, st.integers(0, 160), st.integers(0, 60), st.integers(5, 40), st.integers(5, 40))


@pytest.mark.parametrize(
    ("which", "expected"), [("left", 0), ("right", 1), ("top", 1), ("bottom", 0), ("big", 0), ("small", 1)]
)
def test_a_clear_extreme_is_found(which: Extreme, expected: int) -> None:
    objects = [block(10, 60, 30, 30), block(150, 10, 10, 10)]
    assert extreme(objects, [0, 1], which) == expected


@pytest.mark.parametrize("which", EXTREMES)
def test_twins_have_no_extreme(which: Extreme) -> None:
    assert extreme([block(50, 50, 20, 20), block(52, 51, 20, 20)], [0, 1], which) is None
    assert extreme([block(50, 50, 20, 20)], [0], which) is None


@given(st.lists(blocks, min_size=2, max_size=5))
def test_nothing_is_both_extremes(objects: list[Placed]) -> None:
    group = list(range(len(objects)))
    for one, other in (("left", "right"), ("top", "bottom"), ("big", "small")):
        first = extreme(objects, group, one)  # type: ignore[arg-type]
        assert first is None or first != extreme(objects, group, other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("at", "side"), [((5, 40), "left"), ((170, 40), "right"), ((90, 2), "above"), ((90, 85), "below")]
)
def test_a_lone_neighbour_is_found_on_its_side(at: tuple[int, int], side: Side) -> None:
    objects = [block(90, 40, 15, 15), block(*at, 12, 12)]
    assert beside(objects, [0, 1], 0, side) == 1


def test_two_on_one_side_or_a_slanting_one_are_left_alone() -> None:
    anchor = block(90, 40, 15, 15)
    assert beside([anchor, block(5, 40, 10, 10), block(40, 40, 10, 10)], [0, 1, 2], 0, "left") is None
    assert beside([anchor, block(80, 5, 10, 10)], [0, 1], 0, "left") is None


def test_next_to_needs_one_near_and_the_others_far() -> None:
    anchor = block(90, 40, 15, 15)
    near, far, nearish = block(108, 40, 10, 10), block(5, 40, 10, 10), block(75, 40, 10, 10)
    assert beside([anchor, near, far], [0, 1, 2], 0, "near") == 1
    assert beside([anchor, near, nearish], [0, 1, 2], 0, "near") is None
    assert beside([anchor, far], [0, 1], 0, "near") is None
    assert beside([anchor], [0], 0, "near") is None


@given(blocks, blocks)
def test_gap_is_symmetric_and_zero_when_touching(one: Placed, other: Placed) -> None:
    assert gap(one, other) == gap(other, one) >= 0
    if (one.mask & other.mask).any():
        assert gap(one, other) == 0
