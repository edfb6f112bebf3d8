from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from rsagent.masks.metrics import Score, iou, overlap

Mask = NDArray[np.bool_]
TRIPLES = arrays.array_shapes(min_dims=2, max_dims=2, max_side=8).flatmap(
    lambda shape: st.tuples(*[arrays.arrays(np.bool_, shape)] * 3)
)


@given(TRIPLES)
def test_iou_counts_what_sets_count(masks: tuple[Mask, Mask, Mask]) -> None:
    predicted, truth, ignore = masks
    inside, target = ({*zip(*np.nonzero(mask & ~ignore), strict=True)} for mask in (predicted, truth))
    expected = len(inside & target) / len(inside | target) if inside | target else 1.0
    assert iou(predicted, truth, ignore) == expected
    assert iou(truth, predicted, ignore) == expected


@given(st.lists(TRIPLES, min_size=1, max_size=5))
def test_scores_are_the_mean_and_the_pooled_ratio(samples: list[tuple[Mask, Mask, Mask]]) -> None:
    overlaps = [overlap(*sample) for sample in samples]
    score = Score()
    for sample in overlaps:
        score = score.add(sample)
    union = sum(sample.union for sample in overlaps)
    assert score.samples == len(samples)
    assert score.giou == pytest.approx(sum(sample.iou for sample in overlaps) / len(overlaps))
    assert score.ciou == (sum(sample.intersection for sample in overlaps) / union if union else 1.0)


def test_both_empty_is_right() -> None:
    empty = np.zeros((2, 2), dtype=np.bool_)
    assert iou(empty, empty) == 1.0
    assert Score().add(overlap(empty, empty)).ciou == 1.0


def test_a_failure_scores_nothing_and_counts_the_truth() -> None:
    truth = np.ones((2, 2), dtype=np.bool_)
    score = Score().add(overlap(truth, truth)).add_failure(truth, ignore=np.eye(2, dtype=np.bool_))
    assert (score.samples, score.giou, score.union, score.ciou) == (2, 0.5, 6, 4 / 6)


def test_without_samples_there_is_no_score() -> None:
    assert math.isnan(Score().giou)
    assert math.isnan(Score().ciou)


def test_masks_of_two_sizes_are_a_bug() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        iou(np.ones((2, 2), dtype=np.bool_), np.ones((2, 3), dtype=np.bool_))
