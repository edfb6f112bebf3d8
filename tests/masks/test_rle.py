from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from pycocotools import mask as coco

from rsagent.errors import BadRequest
from rsagent.masks import rle

MASKS = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40))


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # pycocotools 2.0.11 with numpy 2
@given(MASKS)
def test_round_trip_and_pycocotools_agree(mask: NDArray[np.bool_]) -> None:
    counts = rle.encode(mask)
    assert np.array_equal(rle.decode(counts, *mask.shape), mask)
    assert np.array_equal(coco.decode({"size": list(mask.shape), "counts": counts}).astype(np.bool_), mask)


def test_long_runs_round_trip() -> None:
    mask = np.zeros((3000, 1000), dtype=np.bool_)
    mask[100:2900, 40:950] = True
    assert np.array_equal(rle.decode(rle.encode(mask), 3000, 1000), mask)


@given(st.text(max_size=30), st.integers(1, 9), st.integers(1, 9))
def test_any_text_is_a_mask_or_a_bad_request(counts: str, height: int, width: int) -> None:
    with contextlib.suppress(BadRequest):
        assert rle.decode(counts, height, width).shape == (height, width)


@pytest.mark.parametrize("counts", ["", "é", "P", "PPPPPPPPPPPPPPPP0", "\u0661"])
def test_hostile_counts_are_refused(counts: str) -> None:
    with pytest.raises(BadRequest):
        rle.decode(counts, 5, 5)


def test_runs_that_overflow_the_size_are_refused() -> None:
    counts = rle.encode(np.ones((50, 50), dtype=np.bool_))
    with pytest.raises(BadRequest, match="do not fill"):
        rle.decode(counts, 5, 5)
