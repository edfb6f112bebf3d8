"""Dense targets: what is under each patch and each image token, and the heads that are asked for it.

They teach the tower where things are long before the few coordinate tokens of a request do
(measured: guide/nano.md), and are thrown away at export.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from rsagent.training.policy.album import Batch
from rsagent.training.policy.shape import CELL, MERGE, PATCH, TEXT, VISION
from rsagent.training.policy.tower import Seen

GRID = 8
SPELLED = (*range(0, 999, GRID), 999)
IGNORE = -100
FEATURES = 64


def bin_places() -> Tensor:
    """float [126]: where each coordinate that the expert writes lies, in steps of the grid."""
    return torch.tensor(SPELLED, dtype=torch.float32) / GRID


def soft_bins(values: Tensor, sigma: float) -> Tensor:
    """Coordinates 0..1 of a view, any shape [...] -> Gaussian targets [..., 126] over the written coordinates."""
    gap = (values[..., None] * (999 / GRID) - bin_places()) / sigma
    return torch.softmax(-0.5 * gap.square(), dim=-1)


def smooth_features(places: Tensor, width: int, longest: float = 1000.0) -> Tensor:
    """Sines and cosines of `places` [N] (thousandths of a side) -> [N, width]: near numbers look alike."""
    waves = 2 * torch.pi / torch.logspace(0.9, torch.log10(torch.tensor(2 * longest)).item(), width // 2)
    return torch.cat([torch.sin(places[:, None] * waves), torch.cos(places[:, None] * waves)], dim=1)


@dataclass(frozen=True)
class Targets:
    """`patch`, `cell`: class ids [B, N], [B, N/4] (0 ground, IGNORE unsure); `reach` [B, N, 4]: how far the object
    extends from the patch's middle to each side, in cells; `boxes` [B, N/4, 4] in 0..1 of the view; `has` bool
    [B, N/4], whether an object is there; `which` [B, N/4] its index, -1 for none."""

    patch: Tensor
    cell: Tensor
    reach: Tensor
    boxes: Tensor
    has: Tensor
    which: Tensor


def _shares(owner: Tensor, most: int) -> Tensor:
    """uint8 [B, H, W] -> share of each patch that each object owns, [B, N, most], Qwen's patch order."""
    batch, height, width = owner.shape
    cells = owner.view(batch, height // CELL, MERGE, PATCH, width // CELL, MERGE, PATCH).permute(0, 1, 4, 2, 5, 3, 6)
    flat = cells.reshape(batch, -1, PATCH * PATCH)
    return torch.stack([(flat == i + 1).sum(-1, dtype=torch.int32) for i in range(most)], -1) / (PATCH * PATCH)


def _classes(share: Tensor, names: Tensor, sure: float) -> tuple[Tensor, Tensor]:
    """Share of each object per place [B, N, most] -> class id and object index per place, [B, N] each."""
    top, which = share.max(-1)
    found = torch.gather(names, 1, which) + 1
    label = torch.where(top >= sure, found, torch.where(share.sum(-1) <= sure / 2, 0, IGNORE))
    return label, torch.where(top >= sure, which, -1)


def _middles(height: int, width: int) -> Tensor:
    """Middles of all patches in Qwen's order, [N, 4] as x, y, x, y in pixels."""
    rows, columns = torch.meshgrid(torch.arange(height // PATCH), torch.arange(width // PATCH), indexing="ij")
    places = torch.stack([columns, rows, columns, rows], -1).view(height // CELL, MERGE, width // CELL, MERGE, 4)
    return (places.permute(0, 2, 1, 3, 4).reshape(-1, 4) + 0.5) * PATCH


def dense_targets(owner: Tensor, names: Tensor, boxes: Tensor) -> Targets:
    """From `owner` uint8 [B, H, W], `names` [B, most], `boxes` [B, most, 4] in pixels."""
    height, width = owner.shape[1:]
    most = max(1, int(owner.max()))
    share = _shares(owner, most)
    patch, under = _classes(share, names, 0.25)
    ends = torch.gather(boxes, 1, under.clamp_min(0)[..., None].expand(-1, -1, 4))
    reach = (ends - _middles(height, width).to(ends.device)) * torch.tensor([-1, -1, 1, 1], device=ends.device) / CELL
    cell, which = _classes(share.view(len(owner), -1, MERGE**2, most).mean(2), names, 0.06)
    scaled = boxes / torch.tensor([width, height, width, height])
    chosen = torch.gather(scaled, 1, which.clamp_min(0)[..., None].expand(-1, -1, 4))
    return Targets(patch, cell, reach, chosen, which >= 0, which)


def targets_of(batch: Batch, device: str | torch.device = "cpu") -> Targets:
    """The targets of a batch out of an album."""
    return dense_targets(*(torch.from_numpy(part).to(device) for part in (batch.owner, batch.names, batch.boxes)))


class DenseHeads(nn.Module):
    """Linear probes: class and reach per patch; class, box and tint per image token."""

    table: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, names: int) -> None:
        super().__init__()
        self.patch = nn.Sequential(nn.LayerNorm(VISION), nn.Linear(VISION, names + 1))
        self.reach = nn.Sequential(nn.LayerNorm(VISION), nn.Linear(VISION, 4))
        self.norm = nn.LayerNorm(TEXT)
        self.cell = nn.Linear(TEXT, names + 1)
        self.box = nn.Linear(TEXT, 4 * FEATURES)
        self.tint = nn.Linear(TEXT, 1)
        table = smooth_features(torch.tensor(SPELLED, dtype=torch.float32), FEATURES)
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("shift", torch.zeros(TEXT))
        self.register_buffer("scale", torch.ones(()))

    def tokens(self, merged: Tensor) -> Tensor:
        """Image tokens as the probes know them: with the shift and scale that `centre` took out of the merger."""
        normal: Tensor = self.norm(merged.float() * self.scale + self.shift)
        return normal

    def boxes(self, tokens: Tensor) -> Tensor:
        """Normalised tokens [..., T] -> logits [..., 4, 126]."""
        spread: Tensor = self.box(tokens).view(*tokens.shape[:-1], 4, FEATURES)
        return spread @ self.table.T


def _class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Ground is most of every picture and soon known: it counts a fifth."""
    weight = torch.ones(logits.shape[-1], device=logits.device)
    weight[0] = 0.2
    return functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), weight, ignore_index=IGNORE)


def token_losses(heads: DenseHeads, tokens: Tensor, targets: Targets, sigma: float) -> dict[str, Tensor]:
    """Class and box losses of image tokens [B, N/4, T]."""
    states = heads.tokens(tokens)
    soft = soft_bins(targets.boxes[targets.has], sigma)
    logits = heads.boxes(states[targets.has]).float()
    cross = -(soft * functional.log_softmax(logits, -1)).sum(-1)
    floor = -(soft * soft.clamp_min(1e-9).log()).sum(-1)
    return {"cell": _class_loss(heads.cell(states), targets.cell), "box": (cross - floor).sum(-1).mean()}


def dense_losses(
    heads: DenseHeads, seen: Seen, targets: Targets, tinted: Tensor, sigma: float = 2.0
) -> dict[str, Tensor]:
    """All dense losses; `tinted` [B] is the index of the object that wears the mask's colour, -1 for none."""
    losses = token_losses(heads, seen.merged, targets, sigma)
    losses["patch"] = _class_loss(heads.patch(seen.patches.float()), targets.patch)
    on = targets.patch > 0
    told = heads.reach(seen.patches[on].float())
    losses["reach"] = functional.smooth_l1_loss(told, targets.reach[on], beta=0.25)
    worn = (targets.which == tinted[:, None]) & targets.has
    tint = heads.tint(heads.tokens(seen.merged))[..., 0]
    losses["tint"] = functional.binary_cross_entropy_with_logits(tint, worn.float())
    return losses


def box_iou(one: Tensor, other: Tensor) -> Tensor:
    """IoU of boxes [..., 4] xyxy, pair by pair."""
    low, high = torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one[..., 2:], other[..., 2:])
    inner = (high - low).clamp_min(0).prod(-1)
    area = (one[..., 2:] - one[..., :2]).clamp_min(0).prod(-1) + (other[..., 2:] - other[..., :2]).clamp_min(0).prod(-1)
    return inner / (area - inner).clamp_min(1e-9)


@torch.no_grad()
def probe(heads: DenseHeads, seen: Seen, targets: Targets) -> dict[str, float]:
    """How much the tokens know: class accuracy on objects, per token and per patch, and mean box IoU per token."""
    states = heads.tokens(seen.merged)
    has = targets.has
    told = bin_places()[heads.boxes(states[has]).argmax(-1)] * (GRID / 999)
    on = targets.patch > 0
    return {
        "cell_acc": (heads.cell(states)[has].argmax(-1) == targets.cell[has]).float().mean().item(),
        "patch_acc": (heads.patch(seen.patches.float())[on].argmax(-1) == targets.patch[on]).float().mean().item(),
        "box_iou": box_iou(told, targets.boxes[has]).mean().item(),
    }
