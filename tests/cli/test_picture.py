import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rsagent.cli.picture import blocks, paint

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@given(st.integers(4, 80))
def test_half_blocks_keep_the_shape(columns: int) -> None:
    lines = blocks(IMAGE, columns).plain.splitlines()
    assert all(line == "▀" * columns for line in lines)
    assert abs(2 * len(lines) / columns - 40 / 60) <= 2 / columns


@given(hnp.arrays(np.bool_, (2, 40, 60)))
def test_only_objects_and_their_outlines_are_painted(masks: np.ndarray) -> None:
    painted = paint(IMAGE, list(masks))
    around = np.zeros((42, 62), dtype=np.bool_)
    for row in range(3):
        for column in range(3):
            around[row : row + 40, column : column + 60] |= masks.any(0)
    untouched = ~around[1:-1, 1:-1]
    assert (painted[untouched] == IMAGE[untouched]).all()


def test_two_objects_have_two_colours() -> None:
    masks = np.zeros((2, 40, 60), dtype=np.bool_)
    masks[0, 5:15, 5:15] = masks[1, 25:35, 35:50] = True
    grey = np.full_like(IMAGE, 128)
    painted = paint(grey, list(masks))
    assert (painted[10, 10] != painted[30, 40]).any()
    assert (painted[0, 0] == 128).all()
