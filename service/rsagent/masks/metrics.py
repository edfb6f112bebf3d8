"""How masks are scored: IoU, and the two ways of averaging it that referring segmentation reports."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Pixels in both masks and in either."""

    intersection: int
    union: int

    @property
    def iou(self) -> float:
        """Intersection over union; 1 where both masks are empty."""
        return self.intersection / self.union if self.union else 1.0


def overlap(predicted: Mask, truth: Mask, ignore: Mask | None = None) -> Overlap:
    """Count two bool [H, W] masks against each other, leaving out the pixels of `ignore`.

    Raises ValueError if the shapes differ: a mask of another size is a bug, never a bad score.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"masks of shapes {predicted.shape} and {truth.shape} cannot be compared")
    if ignore is not None:
        predicted, truth = predicted & ~ignore, truth & ~ignore
    both = int(np.count_nonzero(predicted & truth))
    return Overlap(both, int(np.count_nonzero(predicted)) + int(np.count_nonzero(truth)) - both)


def iou(predicted: Mask, truth: Mask, ignore: Mask | None = None) -> float:
    """Intersection over union of two bool [H, W] masks; 1 where both are empty."""
    return overlap(predicted, truth, ignore).iou


@dataclass(frozen=True, slots=True)
class Score:
    """gIoU and cIoU over samples, as LISA (arXiv 2308.00692) defines them: the mean of the samples' IoUs, and
    the sum of intersections over the sum of unions."""

    samples: int = 0
    iou_sum: float = 0.0
    intersection: int = 0
    union: int = 0

    def add(self, sample: Overlap) -> Score:
        """This score and one more sample."""
        return self + Score(1, sample.iou, sample.intersection, sample.union)

    def add_failure(self, truth: Mask, ignore: Mask | None = None) -> Score:
        """A sample without a prediction: IoU 0, the truth's pixels in the union, even where the truth is empty."""
        area = int(np.count_nonzero(truth if ignore is None else truth & ~ignore))
        return self + Score(1, 0.0, 0, area)

    def __add__(self, other: Score) -> Score:
        return Score(
            self.samples + other.samples,
            self.iou_sum + other.iou_sum,
            self.intersection + other.intersection,
            self.union + other.union,
        )

    @property
    def giou(self) -> float:
        """Mean of the samples' IoUs; NaN without samples."""
        return self.iou_sum / self.samples if self.samples else float("nan")

    @property
    def ciou(self) -> float:
        """Sum of intersections over sum of unions; NaN without samples, 1 if every mask was empty."""
        if not self.samples:
            return float("nan")
        return Overlap(self.intersection, self.union).iou
