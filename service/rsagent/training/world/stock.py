"""Cut-outs and grounds, decoded once into memory-mapped files that worker processes share."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from rsagent.errors import NotConfigured
from rsagent.training.world.names import entries, listed, read_table

LAYOUT = "3"
CUTOUT_SIDES = (480, 320, 160, 80, 40)
GROUND_SIDES = (960, 480)
PACKAGES = (
    "tuxpaint-stamps-default gnome-backgrounds mate-backgrounds "
    "lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 plasma-workspace-wallpapers"
)
Pixels = NDArray[np.uint8]


class MaterialMissing(NotConfigured):
    """The Debian packages that hold the stamps and photographs are not installed."""


@dataclass(frozen=True)
class Stock:
    """Opened material.

    `cutouts[stamp]` are premultiplied RGBA uint8 [h, w, 4], tight, largest first;
    `grounds[path]` are RGB uint8 [h, w, 3], largest first.
    """

    cutouts: dict[str, tuple[Pixels, ...]]
    grounds: dict[str, tuple[Pixels, ...]]


def data_dirs() -> tuple[Path, ...]:
    """Folders with shared data, after the XDG base directory specification."""
    listed = os.environ.get("XDG_DATA_DIRS", "").split(":")
    return tuple(Path(d) for d in (*listed, "/usr/local/share", "/usr/share") if d)


def find(relative: str) -> Path:
    """The material at a path under a data folder. Raises MaterialMissing, naming the packages."""
    for folder in data_dirs():
        if (folder / relative).is_file():
            return folder / relative
    raise MaterialMissing(f"{relative} is in none of the data folders: apt-get install {PACKAGES}")


def default_cache() -> Path:
    """Where prepared material is kept: $RSAGENT_WORLD_CACHE, else the user's cache folder."""
    chosen = os.environ.get("RSAGENT_WORLD_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(chosen) if chosen else Path(home) / "rsagent" / "world"


@dataclass(frozen=True)
class Ground:
    """A picture to paste on: its split, its path under a data folder, names of things already in it."""

    split: str
    path: str
    shows: tuple[str, ...]


@cache
def grounds() -> tuple[Ground, ...]:
    """All pictures, of every split."""
    rows = ((*row, "")[:3] for row in read_table("grounds.tsv"))
    return tuple(Ground(split, path, listed(shows)) for split, path, shows in rows)


def _read(path: Path, flags: int) -> Pixels:
    image = cv2.imread(str(path), flags)
    if image is None:
        raise MaterialMissing(f"{path} cannot be decoded: reinstall it (apt-get install --reinstall {PACKAGES})")
    return np.asarray(image, np.uint8)


def _shrunk(image: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)


def _pyramid(image: NDArray[np.float32], sides: tuple[int, ...]) -> Iterator[Pixels]:
    """The picture at each side it can be shrunk to; a smaller one first as it is."""
    longest = max(image.shape[:2])
    chosen = [s for s in sides if s < longest]
    for side in [min(longest, sides[0]), *chosen] if longest < sides[0] else chosen or [longest]:
        yield np.asarray(np.rint(_shrunk(image, side)), np.uint8)


def _cutout(stamp: str) -> Iterator[Pixels]:
    """Premultiplied RGBA, cropped to where alpha is above 3 %; premultiplying first keeps edges free of fringes."""
    raw = _read(find(f"tuxpaint/stamps/{stamp}.png"), cv2.IMREAD_UNCHANGED)
    rgba = np.asarray(cv2.cvtColor(raw, cv2.COLOR_BGRA2RGBA), np.float32)
    rows, columns = (np.flatnonzero((rgba[..., 3] > 8).any(axis)) for axis in (1, 0))
    rgba = rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    rgba[..., :3] *= rgba[..., 3:] / 255
    return _pyramid(rgba, CUTOUT_SIDES)


def _ground(path: str) -> Iterator[Pixels]:
    bgr = _read(find(path), cv2.IMREAD_REDUCED_COLOR_2)
    return _pyramid(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.float32), GROUND_SIDES)


def _write(folder: Path, kind: str, keys: list[str], make: Callable[[str], Iterator[Pixels]]) -> None:
    """One flat file of bytes, and an index of offset and shape for every picture and size in it."""
    index: dict[str, list[tuple[int, tuple[int, ...]]]] = {}
    with (folder / f"{kind}.npy").open("wb") as out:
        for key in track(keys, f"preparing {kind}"):
            index[key] = []
            for pixels in make(key):
                index[key].append((out.tell(), pixels.shape))
                out.write(pixels.tobytes())
    (folder / f"{kind}.json").write_text(json.dumps(index))


def _build(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=target.parent))
    try:
        stamps = [stamp for entry in entries() for stamp in entry.stamps]
        _write(part, "cutouts", stamps, _cutout)
        _write(part, "grounds", [ground.path for ground in grounds()], _ground)
        part.rename(target)
    except OSError:
        # Another process finished the same folder first: its content is the same.
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _open(folder: Path, kind: str) -> dict[str, tuple[Pixels, ...]]:
    flat = np.memmap(folder / f"{kind}.npy", np.uint8, mode="r")
    index = json.loads((folder / f"{kind}.json").read_text())
    return {
        key: tuple(flat[at : at + int(np.prod(shape))].reshape(shape).view(np.ndarray) for at, shape in levels)
        for key, levels in index.items()
    }


def _version() -> str:
    sides = (CUTOUT_SIDES, GROUND_SIDES)
    tables = repr((LAYOUT, sides, [e.stamps for e in entries()], [g.path for g in grounds()]))
    return hashlib.sha256(tables.encode()).hexdigest()[:12]


@cache
def load(root: Path | None = None) -> Stock:
    """Open the prepared material, preparing it first (about half a minute) when this version is not there.

    Raises MaterialMissing when the Debian packages are not installed.
    """
    folder = (root or default_cache()) / _version()
    if not folder.is_dir():
        _build(folder)
    return Stock(_open(folder, "cutouts"), _open(folder, "grounds"))
