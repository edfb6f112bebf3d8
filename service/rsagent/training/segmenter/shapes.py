"""Random silhouettes (float32 [s, s] in 0..1) and the textures that fill them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rsagent.training.world.stock import Pixels

Alpha = NDArray[np.float32]
Rng = np.random.Generator
SIDE = 160


def blob(rng: Rng) -> Alpha:
    """A closed curve whose radius is a random Fourier series: from pebbles to amoebae."""
    turn = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    radius = np.ones_like(turn)
    rough = rng.uniform(0.1, 0.7)
    for k in range(1, int(rng.integers(3, 9))):
        radius += rough / k * rng.normal() * np.cos(k * turn + rng.uniform(0, 2 * np.pi))
    return _filled(turn, np.clip(radius, 0.15, None))


def polygon(rng: Rng) -> Alpha:
    """A star-shaped polygon of 3 to 9 corners."""
    corners = int(rng.integers(3, 10))
    even = np.arange(corners) * 2 * np.pi / corners
    turn = even if rng.random() < 0.5 else np.sort(rng.uniform(0, 2 * np.pi, corners))
    return _filled(turn, rng.uniform(0.55 if rng.random() < 0.6 else 0.2, 1.0, corners))


def _filled(turn: NDArray[np.float64], radius: NDArray[np.float64]) -> Alpha:
    points = np.stack([np.cos(turn), np.sin(turn)], 1) * radius[:, None]
    low, high = points.min(0), points.max(0)
    points = (points - low) / np.maximum(high - low, 1e-3) * (SIDE - 5) + 2
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(canvas, [np.rint(points * 8).astype(np.int32)], 255, cv2.LINE_AA, shift=3)
    return canvas.astype(np.float32) * np.float32(1 / 255)


def limbs(rng: Rng) -> Alpha:
    """A body of ellipses with thick or thin crooked limbs: people, animals, chairs and tools have this build."""
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    centre = np.array([SIDE / 2, SIDE / 2]) + rng.normal(0, 8, 2)
    for _ in range(int(rng.integers(1, 3))):
        axes = rng.uniform(12, 45, 2)
        at = centre + rng.normal(0, 14, 2)
        cv2.ellipse(canvas, (tuple(at), tuple(2 * axes), rng.uniform(0, 180)), 255, -1, cv2.LINE_AA)
    for _ in range(int(rng.integers(1, 7))):
        _limb(canvas, centre, rng)
    return canvas.astype(np.float32) * np.float32(1 / 255)


def _limb(canvas: Pixels, start: NDArray[np.float64], rng: Rng) -> None:
    heading, width = rng.uniform(0, 2 * np.pi), rng.uniform(3, 22)
    for _ in range(int(rng.integers(1, 4))):
        end = start + rng.uniform(18, 45) * np.array([np.cos(heading), np.sin(heading)])
        cv2.line(canvas, _whole(start), _whole(end), 255, max(1, int(width)), cv2.LINE_AA)
        start, heading, width = end, heading + rng.normal(0, 0.6), width * rng.uniform(0.6, 1.05)
    if rng.random() < 0.4:
        cv2.circle(canvas, _whole(start), int(width * rng.uniform(0.8, 1.8)) + 1, 255, -1, cv2.LINE_AA)


def _whole(at: NDArray[np.float64]) -> tuple[int, int]:
    return int(at[0]), int(at[1])


def stripes(rng: Rng) -> Alpha:
    """Bands across the square, turned at random."""
    ys, xs = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    turn, count = rng.uniform(0, np.pi), rng.uniform(1.5, 7)
    wave = np.sin(2 * np.pi * count * (xs * np.cos(turn) + ys * np.sin(turn)) + rng.uniform(0, 2 * np.pi))
    return np.asarray(np.clip(0.5 + (wave - rng.uniform(-0.5, 0.5)) * 4, 0, 1), np.float32)


def punched(alpha: Alpha, rng: Rng) -> Alpha:
    """The silhouette with one or two holes."""
    height, width = alpha.shape
    out = alpha.copy()
    for _ in range(int(rng.integers(1, 3))):
        centre = (rng.uniform(0.25, 0.75) * width, rng.uniform(0.25, 0.75) * height)
        axes = (rng.uniform(0.08, 0.35) * width, rng.uniform(0.08, 0.35) * height)
        cv2.ellipse(out, (centre, axes, rng.uniform(0, 180)), 0.0, -1)
    return out


def photo_patch(photo: Pixels, shape: tuple[int, int], rng: Rng) -> Pixels:
    """A randomly placed, scaled and turned crop of a photograph, uint8 [h, w, 3]."""
    height, width = shape
    zoom = min(np.exp(rng.uniform(np.log(0.25), np.log(1.0))), 0.98)
    high, wide = (max(8, int(zoom * side)) for side in photo.shape[:2])
    y = int(rng.integers(photo.shape[0] - high + 1))
    x = int(rng.integers(photo.shape[1] - wide + 1))
    crop = photo[y : y + high, x : x + wide]
    crop = np.ascontiguousarray(np.rot90(crop, int(rng.integers(4)))) if rng.random() < 0.5 else crop
    method = cv2.INTER_AREA if crop.shape[0] > 1.5 * height else cv2.INTER_LINEAR
    out = cv2.resize(crop, (width, height), interpolation=method)
    return recoloured(np.asarray(out, np.uint8), rng) if rng.random() < 0.4 else np.asarray(out, np.uint8)


def recoloured(image: Pixels, rng: Rng) -> Pixels:
    """Other colours, same structure: channels swapped and mixed, sometimes inverted."""
    mix = np.eye(3)[rng.permutation(3)] + rng.normal(0, 0.2, (3, 3))
    mix /= np.abs(mix.sum(1, keepdims=True)) + 0.2
    out = cv2.transform(image, mix)
    return np.asarray(255 - out if rng.random() < 0.2 else out, np.uint8)


def plain(shape: tuple[int, int], rng: Rng) -> Pixels:
    """Nearly one colour with a gradient, as painted things have: uint8 [h, w, 3]."""
    height, width = shape
    ends = rng.uniform(0, 255, 3) + rng.normal(0, 25, (2, 3))
    across = np.linspace(0, 1, width)[None, :, None] if rng.random() < 0.5 else np.linspace(0, 1, height)[:, None, None]
    ramp = np.broadcast_to(ends[0] * (1 - across) + ends[1] * across, (height, width, 3))
    return np.clip(ramp + rng.normal(0, rng.uniform(0, 8), (height, width, 1)), 0, 255).astype(np.uint8)


def regions(shape: tuple[int, int], count: int, rng: Rng) -> NDArray[np.intp]:
    """A wavy Voronoi division into `count` regions: int [h, w] in 0..count-1 (clothes, parts, patches of ground)."""
    height, width = shape
    ys, xs = np.mgrid[0:24, 0:24] / 24.0
    warp = cv2.resize(rng.normal(0, 0.12, (4, 4, 2)).astype(np.float32), (24, 24), interpolation=cv2.INTER_CUBIC)
    seeds, stretch = rng.uniform(0, 1, (count, 2)), np.exp(rng.normal(0, 0.5))
    gaps = [((ys + warp[..., 0] - y) * stretch) ** 2 + (xs + warp[..., 1] - x) ** 2 for y, x in seeds]
    fine = [cv2.resize(gap.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) for gap in gaps]
    return np.asarray(np.stack(fine).argmin(0), np.intp)
