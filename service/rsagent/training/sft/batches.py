"""Passages as the arguments of a Qwen-VL model's own `forward`, which is what transformers' Trainer calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rsagent.policy.checkpoint import Checkpoint
from rsagent.training.chat import Passage

IGNORED = -100
"""The label that the loss passes over (PyTorch's)."""


class Collator:
    """Pads passages at the right: `input_ids`, `attention_mask`, `labels` [B, S] (each token under its own place: the
    model shifts), `position_ids` [3, B, S], and all pictures' patches in the order of their places."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._processor = checkpoint.image_processor
        self._padding = int(checkpoint.tokenizer.pad_token_id or 0)

    def __call__(self, several: Sequence[Sequence[Passage]]) -> dict[str, Tensor]:
        passages = [passage for some in several for passage in some]
        labels = [passage.ids.masked_fill(~passage.learn, IGNORED) for passage in passages]
        places = [_padded([passage.positions[axis] for passage in passages], 0) for axis in range(3)]
        batch = {
            "input_ids": _padded([passage.ids for passage in passages], self._padding),
            "attention_mask": _padded([torch.ones_like(passage.ids) for passage in passages], 0),
            "position_ids": torch.stack(places),
            "labels": _padded(labels, IGNORED),
        }
        return batch | self._pictures(passages)

    def _pictures(self, passages: Sequence[Passage]) -> dict[str, Tensor]:
        pixels = [image.pixels for passage in passages for image in passage.images]
        if not pixels:
            return {}
        looked: Any = self._processor(pixels, do_resize=False, return_tensors="pt")
        return {"pixel_values": looked["pixel_values"], "image_grid_thw": looked["image_grid_thw"]}


def _padded(rows: Sequence[Tensor], value: int) -> Tensor:
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)
