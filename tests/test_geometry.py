import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsagent.geometry import Frame, Normalised, ViewPixels, clip_box, to_frame, to_image, view_size, whole_box

sides = st.integers(1, 5000)
frames = st.builds(
    lambda x, y, w, h, vw, vh: Frame(0, (x, y, x + w, y + h), (32 * vw, 32 * vh)),
    *(st.integers(0, 500), st.integers(0, 500), sides, sides, st.integers(1, 40), st.integers(1, 40)),
)


@given(frames, st.integers(0, 999), st.integers(0, 999))
def test_normalised_coordinates_come_back(frame: Frame, x: int, y: int) -> None:
    assert to_frame(*to_image(x, y, frame, Normalised()), frame, Normalised()) == (x, y)


@given(frames, st.sampled_from([Normalised(), ViewPixels()]))
def test_both_edges_of_a_frame_are_reachable(frame: Frame, coordinates: Normalised | ViewPixels) -> None:
    x1, y1, x2, y2 = frame.box
    assert to_image(0, 0, frame, coordinates) == pytest.approx((x1, y1))
    assert to_image(*coordinates.limits(frame.view), frame, coordinates) == pytest.approx((x2, y2))


@given(frames, st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.sampled_from([1, 8]))
def test_whatever_is_spelled_lies_in_the_view_and_on_the_grid(frame: Frame, x: float, y: float, grid: int) -> None:
    for value in to_frame(x, y, frame, Normalised(), grid):
        assert 0 <= value <= 999
        assert value % grid == 0 or value == 999


@given(sides, sides, st.integers(32 * 32, 2_000_000))
def test_a_view_has_whole_cells_and_stays_within_its_area(width: int, height: int, most: int) -> None:
    w, h = view_size(width, height, most)
    assert w % 32 == h % 32 == 0
    assert min(w, h) >= 32
    assert w * h <= most or min(w, h) == 32


def test_a_view_of_a_fitting_picture_is_the_picture() -> None:
    assert view_size(224, 224, 50176) == (224, 224)
    assert view_size(640, 480, 50176) == (256, 192)
    assert view_size(20, 20, 50176, min_pixels=128 * 128) == (128, 128)


boxes = st.tuples(st.floats(-50, 700), st.floats(-50, 500), st.floats(0, 300), st.floats(0, 300)).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)


@given(boxes, st.integers(1, 640), st.integers(1, 480))
def test_a_whole_box_lies_in_the_picture_and_has_room(
    box: tuple[float, float, float, float], width: int, height: int
) -> None:
    clipped = clip_box(box, width, height)
    x1, y1, x2, y2 = whole_box(clipped, width, height, least=16)
    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height
    assert x2 - x1 >= min(16, width)
    assert x1 <= clipped[0] and y1 <= clipped[1] and x2 >= clipped[2] and y2 >= clipped[3]  # noqa: PT018
