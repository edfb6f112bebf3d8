"""Training prompts: what a user or a policy would give, with its mistakes, for objects of known masks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from rsagent.segmenter.architecture import PIXEL_MEAN, PIXEL_STD
from rsagent.segmenter.decoding import PromptBatch
from rsagent.training.segmenter.collage import Collage
from rsagent.training.segmenter.shapes import Rng

BOX_NOISE = ((0.004, 0.58), (0.02, 0.27), (0.12, 0.15))
"""Jitter of a box's edges (standard deviation, fraction of its side) and how often each is drawn."""


@dataclass(frozen=True)
class Task:
    """Pictures float32 [I, 3, S, S], normalised and padded; targets float32 [B, 1, S/2, S/2], soft at the edges;
    `owners` int64 [I, S/2, S/2]: whose each pixel is, 0 the ground, -1 padding;
    `masks` bool [B, S, S] and `boxes` float32 [B, 4] (tight) of the objects; `image_index` int64 [B]."""

    images: torch.Tensor
    targets: torch.Tensor
    owners: torch.Tensor
    masks: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    image_index: torch.Tensor


def normalised(image: NDArray[np.uint8], side: int) -> torch.Tensor:
    """As `Sam.preprocess`: uint8 [h, w, 3] → float32 [3, side, side], zero-padded right and below."""
    out = np.zeros((side, side, 3), np.float32)
    mean, deviation = np.array(PIXEL_MEAN, np.float32), np.array(PIXEL_STD, np.float32)
    out[: image.shape[0], : image.shape[1]] = (image.astype(np.float32) - mean) / deviation
    return torch.from_numpy(out.transpose(2, 0, 1).copy())


def make_task(collages: list[Collage], side: int, each: int, rng: Rng) -> Task:
    """`each` objects of every collage (with repetition where there are fewer), large ones a little more often."""
    masks = np.zeros((len(collages) * each, side, side), np.bool_)
    boxes = np.zeros((len(masks), 4), np.float32)
    for row in range(len(masks)):
        owner = collages[row // each].owner
        if row % each == 0:
            found = collages[row // each].objects()
            order = _drawn(found, owner, each, rng)
        mask = owner == order[row % each]
        x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
        boxes[row] = x, y, x + w, y + h
        masks[row, : mask.shape[0], : mask.shape[1]] = mask
    owners = np.full((len(collages), side, side), -1, np.int64)
    for picture, collage in enumerate(collages):
        owners[picture, : collage.owner.shape[0], : collage.owner.shape[1]] = collage.owner
    halves = torch.from_numpy(masks).float().unsqueeze(1)
    return Task(
        images=torch.stack([normalised(c.image, side) for c in collages]),
        targets=torch.nn.functional.avg_pool2d(halves, 2),
        owners=torch.from_numpy(owners[:, ::2, ::2].copy()),
        masks=masks,
        boxes=boxes,
        image_index=torch.arange(len(masks)) // each,
    )


def ellipses(side: int, each: int, rng: Rng) -> Task:
    """One flat picture with nothing on it, and ellipses to be guessed from their prompts alone.

    A first lesson for the decoder, which has to learn where a box is before it can learn what is in it.
    """
    masks = np.zeros((each, side, side), np.bool_)
    boxes = np.zeros((each, 4), np.float32)
    for row in range(each):
        axes = np.exp(rng.uniform(np.log(0.1), np.log(0.9), 2)) * side / 2
        canvas = np.zeros((side, side), np.uint8)
        cv2.ellipse(canvas, (tuple(rng.uniform(0.1, 0.9, 2) * side), tuple(2 * axes), 0.0), 1, -1)
        x, y, w, h = cv2.boundingRect(canvas)
        boxes[row] = x, y, x + w, y + h
        masks[row] = canvas > 0
    flat = np.broadcast_to(rng.normal(0, 1, (1, 3, 1, 1)), (1, 3, side, side)).astype(np.float32)
    return Task(
        images=torch.from_numpy(flat),
        targets=torch.nn.functional.avg_pool2d(torch.from_numpy(masks).float().unsqueeze(1), 2),
        owners=torch.full((1, side // 2, side // 2), -1),
        masks=masks,
        boxes=boxes,
        image_index=torch.zeros(each, dtype=torch.int64),
    )


def _drawn(found: list[int], owner: NDArray[np.uint8], each: int, rng: Rng) -> list[int]:
    order = [int(n) for n in rng.permutation(found)][:each]
    weight = np.bincount(owner.ravel(), minlength=256)[found] ** 0.5
    extra = rng.choice(found, max(0, each - len(order)), p=weight / weight.sum())
    return order + [int(n) for n in extra]


def jittered(boxes: NDArray[np.float32], side: int, rng: Rng) -> NDArray[np.float32]:
    """Boxes with edges moved as careless annotators and policies move them, float32 [B, 4]."""
    widths, odds = zip(*BOX_NOISE, strict=True)
    spread = rng.choice(widths, (len(boxes), 1), p=odds)
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    moved = boxes + np.clip(rng.normal(0, 1, boxes.shape), -2, 2) * spread * sides
    return np.asarray(np.clip(moved, 0, side), np.float32)


def clicks(masks: NDArray[np.bool_], rng: Rng) -> NDArray[np.float32]:
    """One point inside each mask, mostly deep inside, sometimes anywhere in it: float32 [B, 2], (x, y)."""
    out = np.zeros((len(masks), 2), np.float32)
    for row, mask in enumerate(masks):
        depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
        floor = depth.max() * (0.6 if rng.random() < 0.6 else 0.0)
        ys, xs = np.nonzero(depth > floor)
        pick = int(rng.integers(len(ys)))
        out[row] = xs[pick], ys[pick]
    return out


def corrections(masks: NDArray[np.bool_], predicted: NDArray[np.bool_], rng: Rng) -> tuple[torch.Tensor, torch.Tensor]:
    """A click in the larger error region of each prediction: points [B, 1, 2] and labels [B, 1]."""
    wrong = masks & ~predicted, predicted & ~masks
    missed = wrong[0].sum((1, 2)) >= wrong[1].sum((1, 2))
    regions = np.where(missed[:, None, None], *wrong)
    empty = ~regions.any((1, 2))
    regions[empty], missed[empty] = masks[empty], True
    points = torch.from_numpy(clicks(regions, rng)).unsqueeze(1)
    return points, torch.from_numpy(missed.astype(np.int64)).unsqueeze(1)


def select(task: Task, rows: NDArray[np.intp], kind: str, rng: Rng) -> PromptBatch:
    """Prompts of one kind ("box", "point" or "both") for some rows of a task."""
    side = task.images.shape[-1]
    boxes = points = labels = None
    if kind != "point":
        boxes = torch.from_numpy(jittered(task.boxes[rows], side, rng))
    if kind != "box":
        points = torch.from_numpy(clicks(task.masks[rows], rng)).unsqueeze(1)
        labels = torch.ones((len(rows), 1), dtype=torch.int64)
    return PromptBatch(boxes, points, labels)
