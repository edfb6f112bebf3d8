"""Pixels of a scene: cutting a ground, turning a cut-out, laying it down."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rsagent.training.world.stock import Pixels

Patch = NDArray[np.float32]


@dataclass(frozen=True)
class Look:
    """How a cut-out is varied: turned (degrees), mirrored, recoloured a little, blurred (sigma, px)."""

    angle: float
    mirror: bool
    contrast: float
    gains: tuple[float, float, float]
    blur: float


def draw_look(rng: np.random.Generator) -> Look:
    """Mild variation: a red apple stays red, an arrow stays readable."""
    light = rng.uniform(0.85, 1.15)
    tint = rng.uniform(0.95, 1.05, 3) * light
    blur = rng.uniform(0.3, 0.9) if rng.random() < 0.25 else 0.0
    gains = (float(tint[0]), float(tint[1]), float(tint[2]))
    return Look(rng.uniform(-20, 20), rng.random() < 0.5, rng.uniform(0.88, 1.12), gains, blur)


def ground(levels: tuple[Pixels, ...], size: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """A random crop of a photograph, uint8 [h, w, 3], mirrored and lit at random."""
    height, width = size
    zoom = rng.uniform(0.45, 1.0)
    left, top = rng.random(), rng.random()
    crop = levels[0]
    for level in levels:
        fit = zoom * min(level.shape[0] / height, level.shape[1] / width)
        if fit >= 0.9 or level is levels[0]:
            high, wide = round(height * fit), round(width * fit)
            y, x = int(top * (level.shape[0] - high)), int(left * (level.shape[1] - wide))
            crop = level[y : y + high, x : x + wide]
    shrink = crop.shape[0] > 1.5 * height
    out = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
    out = cv2.flip(out, 1) if rng.random() < 0.5 else out
    return np.asarray(cv2.convertScaleAbs(out, alpha=rng.uniform(0.75, 1.15), beta=rng.uniform(-10, 15)), np.uint8)


def strange(ground: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    """A ground that no photograph shows, uint8 [h, w, 3]: colours swapped and bent, half of the time mixed with another
    ground of the same size in soft patches. There are few photographs, and a tower comes to know them."""
    made = ground.astype(np.float32) * np.float32(1 / 255)
    if rng.random() < 0.5:
        height, width = ground.shape[:2]
        rough = rng.random((int(rng.integers(2, 7)), int(rng.integers(2, 7))), np.float32)
        share = cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)[..., None]
        made = made * share + other.astype(np.float32) * np.float32(1 / 255) * (1 - share)
    made = made[..., rng.permutation(3)] ** rng.uniform(0.6, 1.6, 3).astype(np.float32)
    return np.asarray(np.rint(made * 255), np.uint8)


def _matrix(shape: tuple[int, ...], scale: float, look: Look) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """The affine map from cut-out to patch, and the patch's (width, height)."""
    height, width = shape[:2]
    turn = np.deg2rad(look.angle)
    cos, sin = np.cos(turn) * scale, np.sin(turn) * scale
    wide = int(np.ceil(abs(cos) * width + abs(sin) * height)) + 4
    high = int(np.ceil(abs(sin) * width + abs(cos) * height)) + 4
    matrix = np.array([[-cos if look.mirror else cos, sin, 0], [sin if look.mirror else -sin, cos, 0]])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix[:, 2] = np.array([(wide - 1) / 2, (high - 1) / 2]) - matrix[:, :2] @ centre
    return matrix, (wide, high)


def patch(levels: tuple[Pixels, ...], side: float, look: Look) -> Patch:
    """A cut-out whose longer side (before turning) is `side` px: premultiplied RGBA float32 in 0..1, tight."""
    source = levels[0]
    for level in levels:
        if max(level.shape[:2]) >= side:
            source = level
    matrix, size = _matrix(source.shape, side / max(source.shape[:2]), look)
    warped = cv2.warpAffine(source, matrix, size, flags=cv2.INTER_LINEAR)
    if look.blur:
        warped = cv2.GaussianBlur(warped, (0, 0), look.blur)
    rgba = warped.astype(np.float32) * np.float32(1 / 255)
    return tight(_recoloured(rgba, look))


def _recoloured(rgba: Patch, look: Look) -> Patch:
    """Gain and contrast, written for premultiplied colour: c' = k·g·c + (1 − k)·α/2, kept within 0..α."""
    alpha = rgba[..., 3:]
    gains = np.asarray(look.gains, np.float32) * np.float32(look.contrast)
    rgba[..., :3] *= gains
    rgba[..., :3] += alpha * np.float32((1 - look.contrast) / 2)
    np.clip(rgba[..., :3], 0, alpha, out=rgba[..., :3])
    return rgba


def tight(rgba: Patch) -> Patch:
    """Cropped to the pixels that show at all."""
    seen = rgba[..., 3] > 0.02
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    if not len(rows):
        return rgba[:0, :0]
    return rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def lay(canvas: Patch, piece: Patch, top: int, left: int) -> None:
    """Blend a premultiplied patch over float32 RGB in 0..1, in place; it must lie inside."""
    region = canvas[top : top + piece.shape[0], left : left + piece.shape[1]]
    region *= 1 - piece[..., 3:]
    region += piece[..., :3]


def shade(canvas: Patch, piece: Patch, top: int, left: int, shift: tuple[int, int], strength: float) -> None:
    """A soft shadow of the patch, moved by `shift` (down, right) px, darkening the canvas in place."""
    height, width = piece.shape[:2]
    soft = max(2, round(max(height, width) * 0.05))
    alpha = cv2.copyMakeBorder(np.ascontiguousarray(piece[..., 3]), soft, soft, soft, soft, cv2.BORDER_CONSTANT)
    shadow = np.asarray(cv2.blur(cv2.blur(alpha, (soft, soft)), (soft, soft)), np.float32)
    y, x = top + shift[0] - soft, left + shift[1] - soft
    y0, x0 = max(0, y), max(0, x)
    y1, x1 = min(canvas.shape[0], y + shadow.shape[0]), min(canvas.shape[1], x + shadow.shape[1])
    if y1 > y0 and x1 > x0:
        canvas[y0:y1, x0:x1] *= 1 - np.float32(strength) * shadow[y0 - y : y1 - y, x0 - x : x1 - x, None]
