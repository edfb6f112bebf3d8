import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rsagent.client.painting import COLOURS, paint

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@given(hnp.arrays(np.bool_, (2, 40, 60), elements=st.booleans()))
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


def test_more_objects_than_colours_begin_anew() -> None:
    masks = np.zeros((len(COLOURS) + 1, 40, 60), dtype=np.bool_)
    masks[0, :10, :10] = masks[-1, 20:30, 20:30] = True
    painted = paint(np.zeros_like(IMAGE), list(masks))
    assert (painted[5, 5] == painted[25, 25]).all()
