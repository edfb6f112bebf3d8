"""What the decoder is asked to minimise."""

from __future__ import annotations

import torch
import torch.nn.functional as F

OUTSIDE = 0.15
SPREAD = 0.05


def mask_errors(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy + dice of each output: logits [B, K, h, w], soft targets [B, 1, h, w] → [B, K].

    The cross-entropy is a mean over the neighbourhood of the object, with a small weight elsewhere: over the whole
    picture a small object would be nothing.
    """
    near = _neighbourhood(targets)
    full = targets.expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, full, reduction="none")
    entropy = (entropy * near).sum((2, 3)) / near.sum((2, 3))
    inside = logits.sigmoid()
    dice = 1 - (2 * (inside * full).sum((2, 3)) + 1) / (inside.sum((2, 3)) + full.sum((2, 3)) + 1)
    return entropy + dice


def _neighbourhood(targets: torch.Tensor) -> torch.Tensor:
    """Weights [B, 1, h, w]: 1 in the bounding box grown by 3 cells, a little outside."""
    solid = (targets > 0.5).float()
    rows, columns = solid.amax(3, keepdim=True), solid.amax(2, keepdim=True)
    grown = _grow(rows, (7, 1), (3, 0)) * _grow(columns, (1, 7), (0, 3))
    share = grown.sum((2, 3), keepdim=True) / grown[0, 0].numel()
    return grown + (1 - grown) * OUTSIDE * share.clamp(min=0.02)


def _grow(line: torch.Tensor, kernel: tuple[int, int], padding: tuple[int, int]) -> torch.Tensor:
    filled = (line.flip(2, 3).cummax(2).values.cummax(3).values.flip(2, 3)) * line.cummax(2).values.cummax(3).values
    return F.max_pool2d(filled, kernel, 1, padding)


def total(logits: torch.Tensor, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The single-mask output always learns, of the other three the best one (SAM, appendix A), and a little the rest.

    `scores` [B, 4] learn the IoU that each output reached.
    """
    errors = mask_errors(logits, targets)
    single, several = errors[:, 0], errors[:, 1:]
    masks = single.mean() + (1 - SPREAD) * several.min(1).values.mean() + SPREAD * several.mean()
    return masks + F.mse_loss(scores, ious(logits.detach(), targets))


def ious(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """IoU of thresholded outputs with thresholded targets, [B, K]."""
    found, wanted = logits > 0, targets > 0.5
    both = (found & wanted).sum((2, 3)).float()
    return both / (found | wanted).sum((2, 3)).clamp(min=1)
