"""What the decoder is asked to minimise."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import nn

OUTSIDE = 0.15
INSIDE = 5.0
SPREAD = 0.05


def mask_errors(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy + dice of each output: logits [B, K, h, w], soft targets [B, 1, h, w] → [B, K].

    The cross-entropy is a mean over the neighbourhood of the object, with a small weight elsewhere: over the whole
    picture a small object would be nothing.  What is well inside counts `INSIDE` times: a pixel of which the model is
    not sure is better taken in, since a hole costs more of the IoU than the same area too much, and photographs have
    many such pixels; at the outline nothing is shifted by it.
    """
    near = _neighbourhood(targets)
    full = targets.expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, full, reduction="none")
    entropy = (entropy * near * (1 + (INSIDE - 1) * _deep(targets))).sum((2, 3)) / near.sum((2, 3))
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


def _deep(targets: torch.Tensor) -> torch.Tensor:
    """1 where all cells within two of a cell are the object's, else 0: [B, 1, h, w]."""
    return (-F.max_pool2d(-targets, 5, 1, 2) > 0.99).float()


def _grow(line: torch.Tensor, kernel: tuple[int, int], padding: tuple[int, int]) -> torch.Tensor:
    filled = (line.flip(2, 3).cummax(2).values.cummax(3).values.flip(2, 3)) * line.cummax(2).values.cummax(3).values
    return F.max_pool2d(filled, kernel, 1, padding)


def total(logits: torch.Tensor, scores: torch.Tensor, targets: torch.Tensor, ambiguous: bool = True) -> torch.Tensor:
    """The single-mask output always learns, of the other three the best one (SAM, appendix A), and a little the rest.

    What is not `ambiguous` (a box) teaches all three alike: there is one answer, and whichever output is believed
    best must have it.  `scores` [B, 4] learn the IoU that each output reached.
    """
    errors = mask_errors(logits, targets)
    single, several = errors[:, 0], errors[:, 1:]
    spread = SPREAD if ambiguous else 1.0
    masks = single.mean() + (1 - spread) * several.min(1).values.mean() + spread * several.mean()
    return masks + F.mse_loss(scores, ious(logits.detach(), targets))


class Grouping(nn.Module):
    """A dense lesson for the encoder, thrown away after training: which pixels belong together, and where edges are.

    The decoder's masks tell the encoder little while the decoder itself knows nothing.  Here every pixel of the
    upscaled embedding is asked which of the picture's objects (or the ground) it is part of, each of them stood for
    by the mean of its own pixels ("prototypes", as in Snell et al. 2017), and whether an outline passes.
    """

    def __init__(self, channels: int, width: int = 24) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, width, 1)
        self.edge = nn.Conv2d(channels, 1, 1)
        with torch.no_grad():  # distances start large enough to have a slope
            self.project.weight.mul_(6)

    def forward(self, features: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
        """Features [I, C, h, w] and owners int64 [I, h, w] (0 the ground, -1 padding) → a scalar."""
        embedded, edges = self.project(features).float(), self.edge(features).float().squeeze(1)
        valid = owners >= 0
        outlines = _outlines(owners)
        edge = F.binary_cross_entropy_with_logits(edges[valid], outlines[valid], pos_weight=edges.new_tensor(3.0))
        groups = [self._together(e, o) for e, o in zip(embedded, owners, strict=True)]
        return torch.stack(groups).mean() + edge

    @staticmethod
    def _together(embedded: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
        flat, owner = embedded.flatten(1).T, owner.flatten()
        flat, owner = flat[owner >= 0], owner[owner >= 0]
        names, index = torch.unique(owner, return_inverse=True)
        member = F.one_hot(index, len(names)).float()
        means = (member.T @ flat) / member.sum(0)[:, None]
        gaps = flat.pow(2).sum(1)[:, None] - 2 * flat @ means.T + means.pow(2).sum(1)
        return F.cross_entropy(-gaps, index, weight=member.sum(0).rsqrt())


def _outlines(owners: torch.Tensor) -> torch.Tensor:
    out = torch.zeros_like(owners, dtype=torch.float32)
    down, across = owners[:, 1:] != owners[:, :-1], owners[:, :, 1:] != owners[:, :, :-1]
    out[:, 1:][down] = out[:, :-1][down] = 1
    out[:, :, 1:][across] = out[:, :, :-1][across] = 1
    return out


def ious(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """IoU of thresholded outputs with thresholded targets, [B, K]."""
    found, wanted = logits > 0, targets > 0.5
    both = (found & wanted).sum((2, 3)).float()
    return both / (found | wanted).sum((2, 3)).clamp(min=1)
