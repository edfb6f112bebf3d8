"""An album: scenes of the world composed once, kept as arrays, and leafed through in batches of one size.

Composing takes 5-15 ms a scene, a training step 30 ms a picture, and both would share one core: an
album pays the first once for all stages. A page of 256 scenes of one size is four `.npy` files,
mapped and never loaded whole. Mirrored half of the time, so that a second pass is not the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rsagent.training.world.scene import Placed, Recipe, Scene, Split, World

PAGE = 256
CROWDED = 1000
LARGE = 2000
MOST = 10
SIZES = (
    (288, 288), (256, 320), (288, 288), (320, 256), (224, 352),
    (288, 288), (256, 320), (256, 256), (192, 320), (352, 224),
)  # fmt: skip
RECIPES = (
    {"count": (1, 7), "side": (0.12, 0.5)},
    {"count": (3, 8), "side": (0.08, 0.35)},
    {"count": (1, 7), "side": (0.12, 0.6)},
    {"count": (1, 3), "side": (0.3, 0.9), "overlap": 0.3},
)


@dataclass(frozen=True)
class Batch:
    """Scenes of one size: `images` uint8 [B, H, W, 3]; `owner` uint8 [B, H, W], 0 ground, i + 1 object i;
    `names`, `stamps` int [B, 10], -1 where there is no object; `boxes` float32 [B, 10, 4] xyxy, pixels."""

    images: NDArray[np.uint8]
    owner: NDArray[np.uint8]
    names: NDArray[np.int64]
    stamps: NDArray[np.int64]
    boxes: NDArray[np.float32]
    seeds: tuple[int, ...]

    def scene(self, row: int, names: tuple[str, ...]) -> Scene:
        """Row `row` as the world's own type, for the world's own request maker."""
        found = []
        for index in range(int((self.names[row] >= 0).sum())):
            name = int(self.names[row, index])
            x1, y1, x2, y2 = (float(side) for side in self.boxes[row, index])
            mask = self.owner[row] == index + 1
            found.append(Placed(names[name], name, int(self.stamps[row, index]), mask, (x1, y1, x2, y2)))
        return Scene(self.images[row], tuple(found), self.seeds[row])


def page_recipe(number: int) -> Recipe:
    """What the scenes of page `number` are like: sizes and kinds take turns; from `CROWDED` on they are full, from
    `LARGE` on they are twice as large as a view, for episodes that zoom.

    A tower that starts from nothing learns by the objects it has seen, and a full scene costs no more than an
    empty one.
    """
    if number >= LARGE:
        height, width = SIZES[(0, 1, 3)[number % 3]]
        return Recipe(size=(2 * height, 2 * width), count=(2, 6), side=(0.1, 0.5))
    if number >= CROWDED:
        return Recipe(size=SIZES[number % len(SIZES)], count=(8, 10), side=(0.14, 0.45), overlap=0.25)
    kind = RECIPES[(number // len(SIZES) + number) % len(RECIPES)]
    return Recipe(size=SIZES[number % len(SIZES)], **kind)


def _describe(scene: Scene) -> tuple[NDArray[np.uint8], NDArray[np.int16], NDArray[np.int16]]:
    owner = np.zeros(scene.image.shape[:2], np.uint8)
    which = np.full((MOST, 2), -1, np.int16)
    boxes = np.zeros((MOST, 4), np.int16)
    for index, placed in enumerate(scene.objects[:MOST]):
        owner[placed.mask] = index + 1
        which[index] = placed.name_id, placed.stamp
        boxes[index] = placed.box
    return owner, which, boxes


def compose_page(world: World, number: int, folder: Path, strange: float = 0.0) -> None:
    """Write page `number` of `world` into `folder`; a page already there is left alone. `strange`: see `Recipe`."""
    final = folder / f"{number:04d}-images.npy"
    if final.exists():
        return
    recipe = replace(page_recipe(number), strange=strange)
    scenes = [world.scene(number * PAGE + i, recipe) for i in range(PAGE)]
    owners, which, boxes = (np.stack(parts) for parts in zip(*map(_describe, scenes), strict=True))
    for key, array in (("owner", owners), ("which", which), ("boxes", boxes)):
        np.save(folder / f"{number:04d}-{key}.npy", array)
    partial = folder / f"{number:04d}.partial.npy"
    np.save(partial, np.stack([scene.image for scene in scenes]))
    partial.rename(final)


def compose(split: Split, pages: range, folder: Path, names: int | None = None, strange: float = 0.0) -> None:
    """Write these pages of a split's album, with the first `names` names only. Ids are those of the whole world."""
    folder.mkdir(parents=True, exist_ok=True)
    world = World(split, names=names)
    (folder / "names.txt").write_text("\n".join(World(split).names) + "\n", encoding="utf-8")
    for number in pages:
        compose_page(world, number, folder, strange)


class Album:
    """The pages that are in a folder. Raises FileNotFoundError when there are none."""

    def __init__(self, folder: Path, pages: range = range(10000)) -> None:
        self.folder = folder
        found = (int(path.name[:4]) for path in folder.glob("*-images.npy"))
        self.pages = sorted(number for number in found if number in pages)
        if not self.pages:
            raise FileNotFoundError(f"no album in {folder}: make it with `rsagent.training.policy album`")
        self.names = tuple((folder / "names.txt").read_text(encoding="utf-8").split("\n")[:-1])

    def take(self, page: int, rows: NDArray[np.int64], mirror: bool) -> Batch:
        """Rows of a page, mirrored left to right or not."""
        images, owner, which, boxes = (
            np.load(self.folder / f"{page:04d}-{key}.npy", mmap_mode="r")[rows]
            for key in ("images", "owner", "which", "boxes")
        )
        boxes = boxes.astype(np.float32)
        if mirror:
            images, owner = images[:, :, ::-1].copy(), owner[:, :, ::-1].copy()
            boxes[..., [0, 2]] = owner.shape[2] - boxes[..., [2, 0]]
        seeds = tuple(page * PAGE + int(row) for row in rows)
        return Batch(images, owner, which[..., 0].astype(np.int64), which[..., 1].astype(np.int64), boxes, seeds)

    def batches(self, size: int, seed: int, crowded: float = 0.0) -> Iterator[Batch]:
        """Batches without end, page and rows drawn anew each time, a share of them from crowded pages; the same for
        the same seed."""
        rng = np.random.default_rng(seed)
        full, plain = ([p for p in self.pages if (p >= CROWDED) == kind] for kind in (True, False))
        while True:
            page = int(rng.choice((full if rng.random() < crowded else plain) or full or plain))
            rows = rng.choice(PAGE, size=size, replace=False)
            yield self.take(page, np.sort(rows), bool(rng.random() < 0.5))


CLOSE = (1.3, 3.0)
LEAST_SEEN = 0.004


def closeup(batch: Batch, size: tuple[int, int], rng: np.random.Generator) -> Batch:
    """Each scene of a batch as a zoom shows it: `size` (height, width) pixels of the surroundings of one object,
    1.3 to 3 times as large as it, off centre. What is left of the other objects stays where it is enough to be named.
    """
    views = [_close(batch, row, size, rng) for row in range(len(batch.images))]
    images, owner, boxes, seen = (np.stack(parts) for parts in zip(*views, strict=True))
    names, stamps = (np.where(seen, ids, -1) for ids in (batch.names, batch.stamps))
    return Batch(images, owner, names, stamps, boxes, batch.seeds)


def _close(batch: Batch, row: int, size: tuple[int, int], rng: np.random.Generator) -> tuple[NDArray[np.generic], ...]:
    left, top, width, height = _region(batch, row, size, rng)
    window = np.s_[row, top : top + height, left : left + width]
    image = cv2.resize(batch.images[window], size[::-1], interpolation=cv2.INTER_AREA)
    owner = np.asarray(cv2.resize(batch.owner[window], size[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
    boxes, seen = np.zeros((MOST, 4), np.float32), np.zeros(MOST, np.bool_)
    for index in np.flatnonzero(batch.names[row] >= 0):
        mask = owner == index + 1
        if np.count_nonzero(mask) < LEAST_SEEN * owner.size:
            owner[mask] = 0
            continue
        x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
        boxes[index], seen[index] = (x, y, x + w, y + h), True
    return np.asarray(image, np.uint8), owner, boxes, seen


def _region(batch: Batch, row: int, size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, top, width and height of a window of the view's shape around one object, inside the picture."""
    shown = batch.owner.shape[1:]
    x1, y1, x2, y2 = batch.boxes[row, rng.choice(np.flatnonzero(batch.names[row] >= 0))]
    scale = max((y2 - y1) / size[0], (x2 - x1) / size[1]) * np.exp(rng.uniform(*np.log(CLOSE)))
    scale = min(max(scale, 0.2), shown[0] / size[0], shown[1] / size[1])
    height, width = int(scale * size[0]), int(scale * size[1])
    off = rng.normal(0, 0.12, 2) * (width, height)
    left, top = (x1 + x2 - width) / 2 + off[0], (y1 + y2 - height) / 2 + off[1]
    return int(np.clip(left, 0, shown[1] - width)), int(np.clip(top, 0, shown[0] - height)), width, height
