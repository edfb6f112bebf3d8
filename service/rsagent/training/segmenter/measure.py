"""mIoU of a segmenter: COCO-format photographs and the world's held-out collages, box or one point in, mask out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Photographs

from rsagent.segmenter.core import Embedding, SamCore
from rsagent.segmenter.protocol import Box, Image, Mask, Point, Prompt
from rsagent.training.world import Recipe as Sparse
from rsagent.training.world import World

LEAST_AREA = 32 * 32


@dataclass(frozen=True)
class Instance:
    """A mask bool [H, W] and its box, xyxy px."""

    mask: Mask
    box: Box


Picture = tuple[Image, list[Instance]]


def coco(folder: Path) -> Iterator[Picture]:
    """Pictures and their instances of at least 32² px of a folder with `instances.json` and `images/`."""
    listing = json.loads((folder / "instances.json").read_text())
    for row in listing["images"]:
        image = np.array(Photographs.open(folder / "images" / row["file_name"]).convert("RGB"))
        mine = [a for a in listing["annotations"] if a["image_id"] == row["id"]]
        found = [_instance(a, image.shape[:2]) for a in mine if a["area"] >= LEAST_AREA]
        yield image, [instance for instance in found if instance.mask.any()]


def _instance(annotation: dict[str, list[list[float]]], shape: tuple[int, ...]) -> Instance:
    canvas = np.zeros(shape, np.uint8)
    for polygon in annotation["segmentation"]:
        cv2.fillPoly(canvas, [np.rint(np.reshape(polygon, (-1, 2))).astype(np.int32)], 1)
    x, y, w, h = (float(v) for v in annotation["bbox"])  # type: ignore[arg-type]
    return Instance(canvas.astype(np.bool_), (x, y, x + w, y + h))


def collages(count: int = 100, side: int = 448, split: str = "test") -> Iterator[Picture]:
    """Collages of the world over pictures held out from training."""
    world = World(split)  # type: ignore[arg-type]
    for seed in range(count):
        scene = world.scene(seed, Sparse(size=(side, side)))
        yield scene.image, [Instance(thing.mask, thing.box) for thing in scene.objects]


def deepest(mask: Mask) -> Point:
    """The point of the mask that is farthest from its edge, labelled as inside."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(x), float(y), 1


def iou(found: Mask, wanted: Mask) -> float:
    """|A ∩ B| / |A ∪ B|; 1 where both are empty."""
    union = int((found | wanted).sum())
    return int((found & wanted).sum()) / union if union else 1.0


def measure(core: SamCore, pictures: Iterator[Picture]) -> dict[str, float]:
    """Means over all instances: one box, one point, a box and then one corrective click, and baselines."""
    figures: dict[str, list[float]] = {}
    for image, instances in pictures:
        if not instances:
            continue
        for name, values in _picture(core, core.encode(image), instances).items():
            figures.setdefault(name, []).extend(values)
    return {"instances": len(figures["box"]), **{name: float(np.mean(values)) for name, values in figures.items()}}


def _picture(core: SamCore, embedding: Embedding, instances: list[Instance]) -> dict[str, list[float]]:
    def ask(prompt: Callable[[Instance], Prompt]) -> list[Mask]:
        return [d.best.mask for d in core.decode([(embedding, prompt(i)) for i in instances])]

    boxed = core.decode([(embedding, Prompt(box=i.box)) for i in instances])
    again = [
        (embedding, Prompt(i.box, (correction(d.best.mask, i.mask),), d.best.logits))
        for d, i in zip(boxed, instances, strict=True)
    ]
    masks = {
        "box": [d.best.mask for d in boxed],
        "point": ask(lambda i: Prompt(points=(deepest(i.mask),))),
        "box_then_click": [d.best.mask for d in core.decode(again)],
        "fill_the_box": [_filled(i) for i in instances],
    }
    return {name: [iou(f, i.mask) for f, i in zip(found, instances, strict=True)] for name, found in masks.items()}


def correction(found: Mask, wanted: Mask) -> Point:
    """The expert's click: the middle of the larger error, inside where something is missing, else outside."""
    missing, extra = wanted & ~found, found & ~wanted
    if missing.sum() >= extra.sum():
        return deepest(missing if missing.any() else wanted)
    x, y, _ = deepest(extra)
    return x, y, 0


def _filled(instance: Instance) -> NDArray[np.bool_]:
    x1, y1, x2, y2 = (round(v) for v in instance.box)
    out = np.zeros_like(instance.mask)
    out[y1:y2, x1:x2] = True
    return out
