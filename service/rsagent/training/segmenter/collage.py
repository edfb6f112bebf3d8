"""Pictures with exact masks, painted to be unlike each other: the only supervision the nano segmenter gets."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rsagent.training.segmenter import shapes
from rsagent.training.segmenter.material import Material
from rsagent.training.segmenter.pieces import drawn, one_of
from rsagent.training.segmenter.shapes import Rng
from rsagent.training.world.stock import Pixels

MODES = {"large": 0.22, "mixed": 0.34, "crowd": 0.32, "laid": 0.12}
COUNTS = {"large": (1, 5), "mixed": (3, 10), "crowd": (8, 20), "laid": (5, 14)}
SIDES = {"large": (0.4, 1.15), "mixed": (0.14, 0.8), "crowd": (0.06, 0.36), "laid": (0.08, 0.4)}
MIN_AREA = 0.0008
MIN_SIDE = 6
TWINS = 0.18
"""How often an object is followed by another of the same look that touches it, as in a herd or on a shelf."""
Point = NDArray[np.float64]


@dataclass(frozen=True)
class Collage:
    """`image` uint8 RGB [h, w, 3]; `owner` uint8 [h, w]: 0 the ground, else the number of the object that shows."""

    image: Pixels
    owner: NDArray[np.uint8]

    def objects(self) -> list[int]:
        """Numbers of the objects that still show enough to be asked for."""
        seen = np.bincount(self.owner.ravel())
        enough = max(MIN_AREA * self.owner.size, 40)
        return [n for n in range(1, len(seen)) if seen[n] >= enough and self._wide(n)]

    def _wide(self, number: int) -> bool:
        _, _, width, height = cv2.boundingRect((self.owner == number).astype(np.uint8))
        return min(width, height) >= MIN_SIDE


def compose(material: Material, side: int, rng: Rng) -> Collage:
    """One collage whose longer side is `side` px; drawn again in the rare case that nothing shows."""
    while True:
        short = int(side * min(1.0, rng.uniform(0.6, 1.1)))
        size = (short, side) if rng.random() < 0.65 else (side, short)
        collage = _paint(material, size, rng)
        if collage.objects():
            return collage


def _paint(material: Material, size: tuple[int, int], rng: Rng) -> Collage:
    mode = str(rng.choice(list(MODES), p=list(MODES.values())))
    home = _ground(material, size, rng)
    canvas = home.astype(np.float32)
    owner = np.zeros(size, np.uint8)
    low, high = np.log(SIDES[mode])
    sides = np.exp(rng.uniform(low, high, int(rng.integers(*COUNTS[mode])))) * max(size)
    if rng.random() < 0.7:  # large things first, so that small ones are not all hidden
        sides = np.sort(sides)[::-1]
    if mode == "laid":  # most of a table is under what lies on it, and it is one thing all the same
        sides = np.concatenate([rng.uniform(0.7, 1.3, 1) * max(size), sides])
    piece, last = None, sides[0]
    centre = np.zeros(2)
    for number, side in enumerate(sides, start=1):
        if piece is not None and rng.random() < TWINS:
            side, turn = last * rng.uniform(0.8, 1.2), rng.uniform(0, 2 * np.pi)
            centre = centre + np.array([np.cos(turn), np.sin(turn)]) * side * rng.uniform(0.4, 1.0)
        else:
            piece, centre = drawn(material, home, rng), _place(float(side), size, rng)
        _lay(canvas, owner, number, piece, float(side), centre, rng)
        last = side
    image = np.clip(canvas, 0, 255).astype(np.uint8)
    return Collage(_developed(image, rng), owner)


def _ground(material: Material, size: tuple[int, int], rng: Rng) -> Pixels:
    """A photograph, or a patchwork of several, which has edges that belong to no object."""
    ground = shapes.photo_patch(one_of(material.photos, rng), size, rng)
    if rng.random() < 0.18:
        count = int(rng.integers(2, 5))
        which = shapes.regions(size, count, rng)
        for region in range(1, count):
            other = shapes.photo_patch(one_of(material.photos, rng), size, rng)
            np.copyto(ground, other, where=(which == region)[..., None])
    return ground


def _place(side: float, size: tuple[int, int], rng: Rng) -> Point:
    """Where the middle of an object lies, (x, y): large ones are mostly well inside, some are cut by the frame."""
    centre = np.array([rng.uniform(0, size[1]), rng.uniform(0, size[0])])
    if side > 0.55 * max(size) and rng.random() < 0.7:
        centre = centre * 0.5 + np.array([size[1], size[0]]) * 0.25
    return centre


def _matrix(shape: tuple[int, ...], side: float, centre: Point, rng: Rng) -> NDArray[np.float64]:
    """Perspective map from piece to canvas: turned, stretched, sheared, tilted."""
    height, width = shape[:2]
    spin = rng.normal(0, 0.25) if rng.random() < 0.75 else rng.uniform(-np.pi, np.pi)
    stretch = np.exp(rng.normal(0, 0.22))
    if rng.random() < 0.12:  # long, thin and aslant: a fork fills a sixth of its box
        spin, stretch = rng.uniform(-np.pi, np.pi), np.exp(rng.normal(0, 0.8))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    scale = side / max(height * stretch, width / stretch)
    turn = np.array([[np.cos(spin), -np.sin(spin)], [np.sin(spin), np.cos(spin)]])
    linear = turn @ np.array([[flip / stretch, rng.normal(0, 0.12)], [0, stretch]]) * scale
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.array([width, height]) / 2
    moved = corners @ linear.T * (1 + rng.normal(0, 0.07, (4, 1))) + centre
    origin = corners + np.array([width, height]) / 2
    return np.asarray(cv2.getPerspectiveTransform(origin.astype(np.float32), moved.astype(np.float32)), np.float64)


def _lay(
    canvas: NDArray[np.float32],
    owner: NDArray[np.uint8],
    number: int,
    piece: Pixels,
    side: float,
    centre: Point,
    rng: Rng,
) -> None:
    """Warp a piece onto the canvas in place and mark the pixels it now owns."""
    size = (owner.shape[0], owner.shape[1])
    matrix = _matrix(piece.shape, side, centre, rng)
    shrink = side / max(piece.shape[:2])
    if shrink < 0.6:  # shrink by area first: a bilinear warp alone would alias
        small = cv2.resize(piece, None, fx=1.5 * shrink, fy=1.5 * shrink, interpolation=cv2.INTER_AREA)
        back = np.diag([piece.shape[1] / small.shape[1], piece.shape[0] / small.shape[0], 1.0])
        piece, matrix = np.asarray(small, np.uint8), matrix @ back
    x, y, w, h = _extent(piece.shape, matrix, size)
    if w < 4 or h < 4:
        return
    shift = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1.0]])
    warped = np.asarray(cv2.warpPerspective(piece, shift @ matrix, (w, h), flags=cv2.INTER_LINEAR), np.float32)
    alpha = warped[..., 3:] * np.float32(1 / 255)
    if rng.random() < 0.4:
        soft = cv2.GaussianBlur(alpha[..., 0], (0, 0), rng.uniform(0.4, 1.2 if rng.random() < 0.7 else 2.2))
        alpha = np.asarray(soft, np.float32)[..., None]
    region = canvas[y : y + h, x : x + w]
    colour = _lit(warped[..., :3], alpha, region, rng)
    if rng.random() < 0.3:
        _shadow(region, alpha[..., 0], rng)
    region *= 1 - alpha
    region += colour * alpha
    owner[y : y + h, x : x + w][alpha[..., 0] > 0.5] = number


def _extent(shape: tuple[int, ...], matrix: NDArray[np.float64], size: tuple[int, int]) -> tuple[int, int, int, int]:
    height, width = shape[:2]
    corners = np.array([[[0, 0], [width, 0], [width, height], [0, height]]], np.float64)
    moved = cv2.perspectiveTransform(corners, matrix)[0]
    x0, y0 = np.maximum(np.floor(moved.min(0)), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(moved.max(0)), [size[1], size[0]]).astype(int)
    return int(x0), int(y0), int(x1 - x0), int(y1 - y0)


def _lit(
    colour: NDArray[np.float32], alpha: NDArray[np.float32], under: NDArray[np.float32], rng: Rng
) -> NDArray[np.float32]:
    """Gain, contrast, a gradient of light; some are pulled towards the colours it lies on."""
    weight = float(alpha.sum()) + 1e-3
    mean = (colour * alpha).sum((0, 1)) / weight
    out = (colour - mean) * np.float32(np.exp(rng.normal(0, 0.2)))
    aim = mean * rng.uniform(0.75, 1.25) + rng.normal(0, 8, 3)
    if rng.random() < 0.22:
        aim = aim + (under.mean((0, 1)) - aim) * rng.uniform(0.4, 0.95)
    height, width = alpha.shape[:2]
    slope = np.linspace(-0.5, 0.5, width)[None, :, None] * rng.normal(0, 30)
    slope = slope + np.linspace(-0.5, 0.5, height)[:, None, None] * rng.normal(0, 30)
    lit = np.asarray(np.clip(out + (aim + slope).astype(np.float32), 0, 255), np.float32)
    return _faded(lit, under, rng) if rng.random() < 0.15 else lit


def _faded(colour: NDArray[np.float32], under: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    """One side of an object all but lost in what lies behind it, as in shade or haze; it is part of it all the same."""
    height, width = colour.shape[:2]
    turn, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.9)
    across = np.linspace(-0.5, 0.5, width)[None, :, None] * np.cos(turn)
    ramp = (across + np.linspace(-0.5, 0.5, height)[:, None, None] * np.sin(turn)) * 2
    lost = np.clip((ramp + reach - 0.5) * rng.uniform(0.8, 2.5), 0, rng.uniform(0.4, 0.9))
    return np.asarray(colour + (under - colour) * lost.astype(np.float32), np.float32)


def _shadow(region: NDArray[np.float32], alpha: NDArray[np.float32], rng: Rng) -> None:
    """Darken, in place, a blurred and shifted copy of the silhouette."""
    soft = max(3, int(0.08 * max(alpha.shape)))
    dark = cv2.blur(np.roll(alpha, rng.integers(-soft, soft + 1, 2), (0, 1)), (soft, soft))
    region *= 1 - np.asarray(dark, np.float32)[..., None] * np.float32(rng.uniform(0.2, 0.6))


def _developed(image: Pixels, rng: Rng) -> Pixels:
    """What a camera and a file format do: light, colour, blur, noise, JPEG."""
    out = cv2.convertScaleAbs(image, alpha=rng.uniform(0.75, 1.25), beta=rng.uniform(-20, 20))
    if rng.random() < 0.25:
        grey = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        kept = 0.0 if rng.random() < 0.25 else rng.uniform(0.3, 0.9)
        out = cv2.addWeighted(out, kept, grey, 1 - kept, 0)
    if rng.random() < 0.35:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.3, 0.9 if rng.random() < 0.75 else 2.0))
    if rng.random() < 0.4:
        noise = rng.normal(0, rng.uniform(1, 9), (*out.shape[:2], 1)).astype(np.float32)
        out = np.clip(out + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        return _jpeg(np.asarray(out, np.uint8), int(rng.integers(45, 95)))
    return np.asarray(out, np.uint8)


def _jpeg(image: Pixels, quality: int) -> Pixels:
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(decoded, np.uint8)
