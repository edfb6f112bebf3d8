"""Our figures against pycocotools': the same masks, counted by other people's code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco

from rsagent.masks.metrics import Score, overlap
from rsagent.segmenter.protocol import Mask


@dataclass(frozen=True, slots=True)
class Check:
    """gIoU and cIoU over the same pairs by both; `worst` is the largest difference of any single IoU."""

    pairs: int
    giou: float
    ciou: float
    their_giou: float
    their_ciou: float
    worst: float

    @property
    def apart(self) -> float:
        """The largest difference of any figure."""
        return max(self.worst, abs(self.giou - self.their_giou), abs(self.ciou - self.their_ciou))


def against_pycocotools(pairs: int = 1000, seed: int = 0) -> Check:
    """Score random pairs of masks of random sizes, one in ten of them empty, by both.

    Theirs: intersection and union are the areas of `merge`d run lengths, an IoU is `iou`'s; it divides 0 by 0 where
    both masks are empty, and the convention (1) is put in its place.
    """
    rng = np.random.default_rng(seed)
    score = Score()
    ious, inner, outer, differences = [], 0, 0, []
    for _ in range(pairs):
        one, other = _pair(rng)
        ours = overlap(one, other)
        a, b = _runs(one), _runs(other)
        either = int(coco.area(coco.merge([a, b])))
        iou = float(coco.iou([a], [b], [False])[0, 0]) if either else 1.0
        ious.append(iou)
        inner, outer = inner + int(coco.area(coco.merge([a, b], intersect=True))), outer + either
        score = score.add(ours)
        differences.append(abs(ours.iou - iou))
    return Check(pairs, score.giou, score.ciou, float(np.mean(ious)), inner / outer, max(differences))


def _pair(rng: np.random.Generator) -> tuple[Mask, Mask]:
    """Blobs: a few overlapping rectangles with noise at a density of their own."""
    height, width = (int(side) for side in rng.integers(1, 120, 2))
    return _blob(rng, height, width), _blob(rng, height, width)


def _blob(rng: np.random.Generator, height: int, width: int) -> Mask:
    mask = np.zeros((height, width), dtype=np.bool_)
    if rng.random() < 0.1:
        return mask
    for _ in range(int(rng.integers(1, 4))):
        top, left = int(rng.integers(height)), int(rng.integers(width))
        mask[top : top + int(rng.integers(1, height + 1)), left : left + int(rng.integers(1, width + 1))] = True
    noise = rng.random(mask.shape) < rng.choice([0.0, 0.05])
    return np.asarray(mask ^ noise, dtype=np.bool_)


def _runs(mask: Mask) -> dict[str, object]:
    runs: dict[str, object] = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return runs
