"""Objects before they are placed: RGBA uint8, straight alpha, of one look or of parts that look unlike each other."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from rsagent.training.segmenter import shapes
from rsagent.training.segmenter.material import Material, silhouette
from rsagent.training.segmenter.shapes import Rng
from rsagent.training.world.stock import Pixels

MARKED, JOINED = 0.28, 0.2
"""How often an object bears marks that end inside it, and how often two pieces are one object.

Without them, whatever ends at a strong edge is a whole: on photographs masks then stop at a collar or a shadow.
"""
SOLID = 128


def drawn(material: Material, home: Pixels, rng: Rng) -> Pixels:
    """One object for a picture whose ground is `home`."""
    piece = _single(material, home, rng)
    dice = rng.random()
    if dice < MARKED:
        return marked(piece, _fill(material, home, (96, 96), rng), rng)
    if dice < MARKED + JOINED:
        return joined(piece, _single(material, home, rng), rng)
    return piece


def one_of(pieces: Sequence[Pixels], rng: Rng) -> Pixels:
    """Any of them."""
    return pieces[int(rng.integers(len(pieces)))]


def marked(piece: Pixels, fill: Pixels, rng: Rng) -> Pixels:
    """The piece with one to three patches of a fill painted upon it; its outline stays."""
    out = piece.copy()
    height, width = piece.shape[:2]
    large = np.asarray(cv2.resize(fill, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        wide, high = (max(4, int(side * rng.uniform(0.2, 0.9))) for side in (width, height))
        patch = cv2.resize(_mark(rng), (wide, high), interpolation=cv2.INTER_AREA)[..., None]
        y, x = int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1))
        under = out[y : y + high, x : x + wide, :3]
        shown = large[y : y + high, x : x + wide]
        under[:] = np.rint(under + (shown - under) * patch).astype(np.uint8)
    return out


def _mark(rng: Rng) -> shapes.Alpha:
    dice = rng.random()
    if dice < 0.3:
        return shapes.stripes(rng)
    return shapes.blob(rng) if dice < 0.6 else shapes.limbs(rng) if dice < 0.8 else shapes.polygon(rng)


def joined(first: Pixels, second: Pixels, rng: Rng) -> Pixels:
    """Two pieces as one: the smaller one's middle lies somewhere on the other, before it or behind it."""
    side = max(first.shape[:2])
    scale = side * rng.uniform(0.35, 0.9) / max(second.shape[:2])
    second = np.asarray(cv2.resize(second, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    margin = max(second.shape[:2]) // 2 + 1
    around = np.pad(first, ((margin, margin), (margin, margin), (0, 0)))
    ys, xs = np.nonzero(first[..., 3] > SOLID)
    pick = int(rng.integers(len(ys))) if len(ys) else 0
    top = int(ys[pick] if len(ys) else 0) + margin - second.shape[0] // 2
    left = int(xs[pick] if len(ys) else 0) + margin - second.shape[1] // 2
    region = around[top : top + second.shape[0], left : left + second.shape[1]]
    front, back = (second, region) if rng.random() < 0.6 else (region, second)
    region[:] = _over(front, back)
    x, y, w, h = cv2.boundingRect((around[..., 3] > 8).astype(np.uint8))
    return np.asarray(around[y : y + h, x : x + w])


def _over(front: Pixels, back: Pixels) -> Pixels:
    """Straight alpha, front over back (Porter and Duff 1984)."""
    above, below = (p[..., 3:].astype(np.float32) / 255 for p in (front, back))
    alpha = above + below * (1 - above)
    colour = (front[..., :3] * above + back[..., :3] * below * (1 - above)) / np.maximum(alpha, 1e-3)
    whole = np.concatenate([colour, alpha * 255], 2)
    return np.asarray(np.rint(whole).clip(0, 255), np.uint8)


def _single(material: Material, home: Pixels, rng: Rng) -> Pixels:
    """A piece with its own look, or a silhouette filled with something else."""
    dice = rng.random()
    if dice < 0.42:
        return one_of(material.stamps, rng)
    if dice < 0.5 and material.cliparts:
        return one_of(material.cliparts, rng)
    if dice < 0.74 and material.figures:
        return one_of(material.figures, rng)
    alpha = _silhouette(material, rng)
    if rng.random() < 0.06:
        alpha = shapes.punched(alpha, rng)
    return np.dstack([_texture(material, home, alpha.shape, rng), np.rint(alpha * 255).astype(np.uint8)])


def _silhouette(material: Material, rng: Rng) -> shapes.Alpha:
    dice = rng.random()
    if dice < 0.25:
        return silhouette(one_of(material.stamps, rng))
    if dice < 0.4 and material.cliparts:
        return silhouette(one_of(material.cliparts, rng))
    if dice < 0.6 and material.figures:
        return silhouette(one_of(material.figures, rng))
    if dice < 0.75:
        return shapes.blob(rng)
    return shapes.limbs(rng) if dice < 0.9 else shapes.polygon(rng)


def _texture(material: Material, home: Pixels, shape: tuple[int, ...], rng: Rng) -> Pixels:
    """One material, or up to four in parts: a thing need not be of one colour to be one thing."""
    size = (shape[0], shape[1])
    parts = int(rng.choice([1, 2, 3, 4], p=[0.45, 0.25, 0.18, 0.12]))
    which = shapes.regions(size, parts, rng) if parts > 1 else np.zeros(size, np.intp)
    out = np.zeros((*size, 3), np.uint8)
    for part in range(parts):
        np.copyto(out, _fill(material, home, size, rng), where=(which == part)[..., None])
    return out


def _fill(material: Material, home: Pixels, size: tuple[int, int], rng: Rng) -> Pixels:
    """Flat, of a photograph, or of the very ground it will lie on."""
    dice = rng.random()
    if dice < 0.3:
        return shapes.plain(size, rng)
    return shapes.photo_patch(home if dice < 0.45 else one_of(material.photos, rng), size, rng)
