from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis.extra.numpy import arrays

from rsagent.training.synthesis.clicks import correction, deepest

MASKS = arrays(np.bool_, (24, 31))


def block(*box: int) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    mask = np.zeros((60, 80), np.bool_)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def test_a_click_adds_in_the_middle_of_what_is_missing() -> None:
    click = correction(block(10, 10, 30, 40), block(10, 10, 50, 40))
    assert click is not None
    assert click.positive
    assert 35 <= click.x <= 45
    assert 19 <= click.y <= 31


def test_a_click_takes_away_where_more_is_wrong() -> None:
    click = correction(block(10, 10, 60, 40), block(10, 10, 35, 40))
    assert click is not None
    assert not click.positive
    assert click.x > 35


def test_a_thin_error_is_left_to_the_outline() -> None:
    assert correction(block(10, 10, 31, 40), block(10, 10, 30, 40)) is None
    assert correction(block(10, 10, 30, 40), block(10, 10, 30, 40)) is None


def test_the_pictures_edge_is_a_border_as_well() -> None:
    x, _, depth = deepest(block(0, 0, 20, 60))
    assert 8 <= x <= 12
    assert 9 <= depth <= 11


@given(found=MASKS, truth=MASKS)
def test_a_click_lies_in_the_error_that_it_mends(found: np.ndarray, truth: np.ndarray) -> None:
    click = correction(found, truth)
    if click is not None:
        at = int(click.y), int(click.x)
        assert truth[at] == click.positive
        assert found[at] != click.positive
