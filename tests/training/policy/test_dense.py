from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.training.policy.stages import model

from rsagent.training.policy.dense import (
    IGNORE,
    SPELLED,
    DenseHeads,
    box_iou,
    dense_losses,
    dense_targets,
    soft_bins,
)
from rsagent.training.policy.tower import encode


def one_object() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A 64 x 64 picture whose left upper cell is object 0 of name 5."""
    owner = torch.zeros(1, 64, 64, dtype=torch.uint8)
    owner[0, :32, :32] = 1
    names = torch.full((1, 10), -1)
    names[0, 0] = 5
    boxes = torch.zeros(1, 10, 4)
    boxes[0, 0] = torch.tensor([0, 0, 32, 32])
    return owner, names, boxes


def test_targets_say_what_is_where() -> None:
    targets = dense_targets(*one_object())
    assert targets.cell.tolist() == [[6, 0, 0, 0]]
    assert targets.patch[0].tolist() == [6] * 4 + [0] * 12
    assert targets.has.tolist() == [[True, False, False, False]]
    assert targets.boxes[0, 0].tolist() == [0, 0, 0.5, 0.5]
    assert targets.reach[0, 0].tolist() == [0.25, 0.25, 0.75, 0.75]


def test_a_sliver_is_neither_object_nor_ground() -> None:
    owner, names, boxes = one_object()
    owner[:] = 0
    owner[0, :16, :3] = 1
    assert dense_targets(owner, names, boxes).patch[0, 0].item() == IGNORE


@given(st.floats(0, 1))
def test_soft_targets_peak_at_the_nearest_spelling(value: float) -> None:
    soft = soft_bins(torch.tensor([value]), 2.0)[0]
    assert abs(soft.sum().item() - 1) < 1e-5
    assert abs(SPELLED[int(soft.argmax())] - value * 999) <= 4.01


def test_box_iou_of_a_half() -> None:
    assert box_iou(torch.tensor([0.0, 0, 2, 2]), torch.tensor([0.0, 0, 2, 1])).item() == 0.5


def test_every_loss_reaches_the_tower() -> None:
    targets, heads = dense_targets(*one_object()), DenseHeads(10)
    images = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    losses = dense_losses(heads, encode(model().model.visual, images), targets, torch.tensor([0]))
    assert set(losses) == {"patch", "cell", "box", "reach", "tint"}
    for loss in losses.values():
        assert loss.isfinite()
        assert loss.requires_grad
