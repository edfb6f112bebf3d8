from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy import ndimage

from rsagent.masks import polygon
from rsagent.masks.polygon import Polygon

MASKS = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12))


def ring_mask() -> NDArray[np.bool_]:
    mask = np.zeros((9, 11), dtype=np.bool_)
    mask[1:8, 2:9] = True
    mask[3:6, 4:6] = False
    return mask


@given(MASKS)
def test_the_round_trip_is_exact(mask: NDArray[np.bool_]) -> None:
    assert np.array_equal(polygon.decode(polygon.encode(mask), *mask.shape), mask)


@given(MASKS)
def test_parts_are_the_components_and_holes_the_enclosed_background(mask: NDArray[np.bool_]) -> None:
    parts = polygon.encode(mask)
    _, components = ndimage.label(mask, structure=np.ones((3, 3)))
    _, gaps = ndimage.label(np.pad(~mask, 1, constant_values=True))
    assert len(parts) == components
    assert sum(len(part.holes) for part in parts) == gaps - 1


@given(MASKS)
def test_the_shoelace_area_is_the_pixel_count(mask: NDArray[np.bool_]) -> None:
    area = sum(_area(part.exterior) - sum(map(_area, part.holes)) for part in polygon.encode(mask))
    assert area == np.count_nonzero(mask)


def test_one_pixel_is_a_unit_square() -> None:
    mask = np.zeros((4, 4), dtype=np.bool_)
    mask[1, 2] = True
    (part,) = polygon.encode(mask)
    assert sorted(map(tuple, part.exterior)) == [(2, 1), (2, 2), (3, 1), (3, 2)]
    assert part.holes == ()


def test_a_hole_stays_a_hole() -> None:
    (part,) = polygon.encode(ring_mask())
    (hole,) = part.holes
    assert sorted(map(tuple, hole)) == [(4, 3), (4, 6), (6, 3), (6, 6)]


def test_an_empty_mask_has_no_parts() -> None:
    assert polygon.encode(np.zeros((3, 5), dtype=np.bool_)) == ()
    assert not polygon.decode((), 3, 5).any()


def test_a_pixel_belongs_to_a_polygon_by_its_centre() -> None:
    triangle = Polygon([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    # the centres on the long side are a tie: the pixel right of a crossing is the first one inside
    assert polygon.decode([triangle], 4, 4).sum(axis=1).tolist() == [3, 2, 1, 0]


def test_polygons_that_overlap_are_joined_and_clipped() -> None:
    square = [[-5.0, -5.0], [3.0, -5.0], [3.0, 3.0], [-5.0, 3.0]]
    mask = polygon.decode([Polygon(square), Polygon(square)], 4, 4)
    assert mask[:3, :3].all()
    assert mask.sum() == 9


def _area(ring: polygon.Ring) -> float:
    x, y = np.asarray(ring, dtype=np.float64).T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
