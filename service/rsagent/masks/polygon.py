"""Masks as polygons with holes, along pixel *edges*, so that the round trip is exact (IoU 1).

The pixel in column x and row y is the square from (x, y) to (x + 1, y + 1), as in `xyxy` boxes with exclusive ends.
A ring is a list of [x, y] vertices, not repeated at its end; what lies inside is what an odd number of a polygon's
rings surrounds. OpenCV's own contours run through pixel *centres*: they lose half a pixel on each side, and
one-pixel structures altogether. So contours are taken of the mask at twice its size, where the border pixels of
column x are 2x and 2x + 1: (c + 1) // 2 is then the edge they lie on. Diagonal steps, which OpenCV takes at concave
corners, join two pixels of the same corner and collapse into it.

Pixels that touch by a corner alone belong to one component (as for OpenCV), so a ring may touch itself there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Ring = list[list[float]]
"""[[x, y], …] in original-image pixels, without a repeated last vertex."""

_NEXT, _CHILD, _PARENT = 0, 2, 3


@dataclass(frozen=True, slots=True)
class Polygon:
    """One connected part: its outline, and what is cut out of it."""

    exterior: Ring
    holes: tuple[Ring, ...] = ()


def encode(mask: NDArray[np.bool_]) -> tuple[Polygon, ...]:
    """The parts of a bool [H, W] mask, in OpenCV's order; none for an empty mask. Exact: `decode` gives it back."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return ()
    top, left = int(rows[0]), int(columns[0])
    crop = mask[top : rows[-1] + 1, left : columns[-1] + 1].astype(np.uint8)
    double = crop.repeat(2, axis=0).repeat(2, axis=1)
    contours, tree = cv2.findContours(double, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    links = np.asarray(tree, dtype=np.int32).reshape(-1, 4)
    rings = [_on_edges(np.asarray(contour, dtype=np.int32).reshape(-1, 2), left, top) for contour in contours]
    return tuple(
        Polygon(rings[index], tuple(rings[hole] for hole in _siblings(links, int(links[index, _CHILD]))))
        for index in range(len(rings))
        if links[index, _PARENT] < 0
    )


def _siblings(links: NDArray[np.int32], index: int) -> Iterable[int]:
    while index >= 0:
        yield index
        index = int(links[index, _NEXT])


def _on_edges(contour: NDArray[np.int32], left: int, top: int) -> Ring:
    """Doubled pixel centres → pixel edges, without the vertices that say nothing."""
    points = (contour + 1) // 2
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    ring: Ring = (points[turns] + (left, top)).tolist()
    return ring


def decode(polygons: Sequence[Polygon], height: int, width: int) -> NDArray[np.bool_]:
    """The bool [H, W] mask of all pixels whose centre lies inside a polygon. Coordinates outside are clipped."""
    mask = np.zeros((height, width), dtype=np.bool_)
    for polygon in polygons:
        mask |= _fill((polygon.exterior, *polygon.holes), height, width)
    return mask


def _fill(rings: Iterable[Ring], height: int, width: int) -> NDArray[np.bool_]:
    """Even-odd fill: each edge toggles the pixels right of it, on the rows whose centre line it crosses."""
    x1, y1, x2, y2 = np.concatenate([_edges(ring) for ring in rings]).T
    first = np.clip(np.ceil(np.minimum(y1, y2) - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(np.maximum(y1, y2) - 0.5), 0, height).astype(np.int64)
    count = last - first
    edge = np.repeat(np.arange(len(count)), count)
    row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    crossing = x1[edge] + (row + 0.5 - y1[edge]) * (x2 - x1)[edge] / (y2 - y1)[edge]
    column = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    toggles = np.zeros((height, width + 1), dtype=np.uint8)
    np.add.at(toggles, (row, column), 1)
    parity = np.bitwise_xor.accumulate(toggles & 1, axis=1)
    return parity[:, :width].astype(np.bool_)


def _edges(ring: Ring) -> NDArray[np.float64]:
    """float64 [N, 4]: x1, y1, x2, y2 of each edge that is not level."""
    points = np.asarray(ring, dtype=np.float64).reshape(-1, 2)
    edges = np.concatenate([points, np.roll(points, -1, axis=0)], axis=1)
    level: NDArray[np.bool_] = edges[:, 1] == edges[:, 3]
    kept: NDArray[np.float64] = edges[~level]
    return kept
