import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rsagent.agent.render import ALPHA, overlay, part, tint, view
from rsagent.geometry import Frame

IMAGE = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def test_a_view_is_the_crop_at_the_view_size() -> None:
    shown = view(IMAGE, Frame(1, (10, 20, 42, 52), (32, 32)))
    assert (shown.pixels == IMAGE[20:52, 10:42]).all()
    assert view(IMAGE, Frame(0, (0, 0, 80, 60), (64, 32))).pixels.shape == (32, 64, 3)


@given(hnp.arrays(np.bool_, (60, 80), elements=st.booleans()))
def test_only_the_mask_is_painted_and_the_base_is_left_alone(mask: np.ndarray) -> None:
    before = IMAGE.copy()
    painted = tint(IMAGE, mask)
    assert (painted[~mask] == IMAGE[~mask]).all()
    assert (before == IMAGE).all()


def test_the_inside_is_blended_and_the_outline_is_pure_green() -> None:
    mask = np.zeros((60, 80), dtype=np.bool_)
    mask[10:30, 10:30] = True
    painted = tint(IMAGE, mask)
    expected = (1 - ALPHA) * IMAGE[20, 20] + ALPHA * np.array([0, 255, 0])
    assert np.abs(painted[20, 20] - expected).max() <= 1
    assert (painted[10, 10:30] == (0, 255, 0)).all()


def test_an_empty_mask_and_one_outside_the_frame_change_nothing() -> None:
    mask = np.zeros((60, 80), dtype=np.bool_)
    assert (tint(IMAGE, mask) == IMAGE).all()
    mask[:10, :10] = True
    frame = Frame(1, (32, 20, 64, 52), (32, 32))
    base = view(IMAGE, frame)
    assert overlay(base.pixels, mask, frame).uuid == base.uuid


def test_equal_pixels_have_equal_names() -> None:
    assert part(IMAGE).uuid == part(IMAGE.copy()).uuid
    assert part(IMAGE).uuid != part(255 - IMAGE).uuid
    assert part(IMAGE).uuid != part(IMAGE.reshape(80, 60, 3)).uuid
