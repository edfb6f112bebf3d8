"""What collages are cut from: photographs for texture, cut-outs with their own look, silhouettes for any texture."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from rsagent.training.world.names import entries
from rsagent.training.world.stock import Pixels, data_dirs, grounds, load

CLIPART_SIDE = 160
STAMP_SIDE = 320
PHOTO_SIDE = 480
FIGURE_SIDE = 224
FIGURES = (
    "rsagent/node_modules/@lobehub/fluent-emoji-3d/assets/*.webp",
    "games/wesnoth/*/data/core/images/portraits/*/*.png",
)
"""Patterns under a data folder. Microsoft's Fluent emoji (MIT), rendered; Wesnoth's portraits (GPL-2+), painted."""
NOT_THINGS = re.compile(
    r"1f1[e-f]|1f[0-9a-f]{3}-1f3f[c-f]|00|20|21|23|26(3|4|5|a)|27|3[0-9]|1f5[0-6]|1f19|1f2|1f4a[2-3]"
)
"""Emoji left out: flags, signs and clocks, and what differs from another one by the colour of skin alone."""


@dataclass(frozen=True)
class Material:
    """`photos` uint8 RGB [h, w, 3]; the others straight-alpha RGBA uint8 [h, w, 4], tight.

    `figures` are people, beasts and things, rendered or painted with light and shade.
    """

    photos: Sequence[Pixels]
    stamps: Sequence[Pixels]
    cliparts: Sequence[Pixels]
    figures: Sequence[Pixels] = ()


def gather(cliparts: int = 2500, seed: int = 0, cache: Path | None = None) -> Material:
    """Read everything into memory (a minute or two, 0.5 GB), or from the file `cache`, which is written if absent.

    Needs the world's Debian packages. Used where they are installed, and left out otherwise: the Debian packages
    `openclipart-png` and `wesnoth-1.16-data`, and `npm install --prefix /usr/local/share/rsagent
    @lobehub/fluent-emoji-3d@1.1.0`.
    Photographs of the world's held-out splits are not touched.
    """
    if cache is not None and cache.is_file():
        return _kept(cache)
    stock = load()
    photos = list(_photos())
    stamps = [_straight(_fitting(stock.cutouts[s], STAMP_SIDE)) for entry in entries() for s in entry.stamps]
    paths = sorted(p for d in data_dirs() for p in (d / "openclipart" / "png").rglob("*.png"))
    chosen = np.random.default_rng(seed).permutation(len(paths))[:cliparts]
    drawn = list(_cliparts([paths[i] for i in chosen]))
    material = Material(photos, stamps, drawn, list(figures()))
    if cache is not None:
        torch.save({kind: [torch.from_numpy(p) for p in pieces] for kind, pieces in vars(material).items()}, cache)
    return material


def _kept(cache: Path) -> Material:
    held = torch.load(cache, weights_only=True)
    return Material(*([piece.numpy() for piece in held[kind]] for kind in ("photos", "stamps", "cliparts", "figures")))


def _photos() -> Iterator[Pixels]:
    """Every installed background and wallpaper but those of the held-out splits (and their other sizes)."""
    barred = {_family(Path(ground.path)) for ground in grounds() if ground.split != "train"}
    for path in track(sorted(_pictures()), "reading photographs"):
        image = cv2.imread(str(path), cv2.IMREAD_REDUCED_COLOR_4)
        if image is None or min(image.shape[:2]) < 120 or _family(path) in barred:
            continue
        scale = min(1.0, PHOTO_SIDE / max(image.shape[:2]))
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        yield np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)


def _pictures() -> Iterator[Path]:
    for folder in data_dirs():
        for name in ("backgrounds", "wallpapers"):
            yield from (p for p in (folder / name).rglob("*") if p.suffix in {".jpg", ".png", ".webp"})


def _family(path: Path) -> str:
    """What all sizes of one wallpaper share: its folder under `wallpapers`, otherwise the file's name without size."""
    parts = path.parts
    if "wallpapers" in parts:
        return parts[parts.index("wallpapers") + 1]
    return path.stem.removesuffix("-l").removesuffix("-d")


def _fitting(levels: Sequence[Pixels], side: int) -> Pixels:
    """The smallest stored size that is at least `side`, or the largest there is."""
    large = [level for level in levels if max(level.shape[:2]) >= side]
    return large[-1] if large else levels[0]


def _straight(premultiplied: Pixels) -> Pixels:
    alpha = np.maximum(premultiplied[..., 3:].astype(np.float32), 1) / 255
    colour = np.clip(premultiplied[..., :3] / alpha, 0, 255)
    return np.concatenate([colour.astype(np.uint8), premultiplied[..., 3:]], axis=2)


def _cliparts(paths: list[Path]) -> Iterator[Pixels]:
    for path in track(paths, "reading cliparts"):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is None or image.ndim != 3 or image.shape[2] != 4:
            continue
        piece = _one_thing(np.asarray(image, np.uint8))
        if piece is not None:
            yield np.asarray(cv2.cvtColor(piece, cv2.COLOR_BGRA2RGBA), np.uint8)


def figures() -> Iterator[Pixels]:
    """Rendered and painted things from the packages that are installed: RGBA, tight, at most `FIGURE_SIDE` px."""
    for pattern in FIGURES:
        for path in sorted(p for folder in data_dirs() for p in folder.glob(pattern)):
            image = None if NOT_THINGS.match(path.name) else cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            if image is None or image.ndim != 3 or image.shape[2] != 4:
                continue
            scale = min(1.0, FIGURE_SIDE / max(image.shape[:2]))
            small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            x, y, w, h = cv2.boundingRect((small[..., 3] > 128).astype(np.uint8))
            if min(w, h) >= 24:
                yield np.asarray(cv2.cvtColor(small[y : y + h, x : x + w], cv2.COLOR_BGRA2RGBA), np.uint8)


def _one_thing(image: Pixels) -> Pixels | None:
    """The drawing's largest connected part, tight and shrunk; None where that is most of a page, or a scatter."""
    scale = CLIPART_SIDE / max(image.shape[:2])
    if scale < 1:
        image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    solid = (image[..., 3] > 128).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(solid)
    if count < 2:
        return None
    best = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    x, y, w, h, area = (int(v) for v in stats[best])
    if min(w, h) < 24 or area < 0.7 * solid.sum() or not 0.12 < area / (w * h) < 0.97:
        return None
    tight = image[y : y + h, x : x + w].copy()
    tight[..., 3] *= labels[y : y + h, x : x + w] == best
    return tight


def silhouette(piece: Pixels) -> NDArray[np.float32]:
    """A cut-out's alpha, float32 [h, w] in 0..1."""
    return piece[..., 3].astype(np.float32) * np.float32(1 / 255)
