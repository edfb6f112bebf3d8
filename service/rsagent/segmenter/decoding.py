"""SAM's mask decoder over prompts of different images in one batch, as a function of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch

from rsagent.segmenter.architecture import Sam
from rsagent.segmenter.details import predict


@dataclass(frozen=True)
class PromptBatch:
    """Prompts with equally many tokens, in the model's input pixels.

    `boxes` float32 [B, 4] or None; `points` float32 [B, N, 2] with `labels` int [B, N] or None; `masks` float32
    [B, 1, h, w] low-resolution logits, with `has_mask` bool [B] telling which rows count, or None.
    """

    boxes: torch.Tensor | None = None
    points: torch.Tensor | None = None
    labels: torch.Tensor | None = None
    masks: torch.Tensor | None = None
    has_mask: torch.Tensor | None = None

    def to(self, device: torch.device) -> PromptBatch:
        """The same on `device`."""
        parts = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(self, **{name: part.to(device) for name, part in parts.items() if part is not None})


def embed(model: Sam, batch: PromptBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Sparse [B, tokens, C] and dense [B, C, g, g] prompt embeddings, as `PromptEncoder` makes them."""
    points = None if batch.points is None else (batch.points, batch.labels)
    sparse, dense = model.prompt_encoder(points=points, boxes=batch.boxes, masks=batch.masks)
    if points is None and batch.boxes is None:
        sparse = sparse.new_zeros((len(dense), 0, sparse.shape[-1]))
    if batch.masks is not None and batch.has_mask is not None:
        _, blank = model.prompt_encoder(points=points, boxes=batch.boxes, masks=None)
        dense = torch.where(batch.has_mask[:, None, None, None], dense, blank)
    return sparse, dense


def decode(
    model: Sam, levels: Sequence[torch.Tensor], positions: torch.Tensor, batch: PromptBatch
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [B, 4, h, w] and predicted IoU [B, 4] of all four outputs (the first is SAM's single-mask one).

    `levels`: of each prompt its own image's embedding, see `details.predict`; `positions` [1, C, g, g] is
    `prompt_encoder.get_dense_pe()`.
    """
    # Positions are sines of large arguments: bfloat16 would blur them by pixels, so autocast stays out of here.
    with torch.autocast(positions.device.type, enabled=False):
        sparse, dense = embed(model, batch)
    return predict(model.mask_decoder, levels, positions, sparse, dense)
