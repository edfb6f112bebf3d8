"""The vision tower, run over a batch of pictures of one size.

The module of transformers takes a ragged list of patches and attends picture by picture; training
has whole batches of one size and wants few, large products. `encode` computes the same function
from the same parameters (tests hold the two to each other), about three times as fast on a CPU:
explicit bfloat16 attention, and the two temporal halves of the patch kernel, which a still picture
fills with one frame twice, summed before they are applied.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from rsagent.training.policy.shape import CELL, MERGE, PATCH


@dataclass(frozen=True)
class Seen:
    """What the tower makes of a batch: patches [B, N, V], merged [B, N/4, T], deepstack the same, a layer each."""

    patches: Tensor
    merged: Tensor
    deepstack: tuple[Tensor, ...]


def patchify(images: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] -> float [B, H/16 * W/16, 3*16*16] in Qwen's order: the 2 x 2 patches of a cell together."""
    batch, height, width, _ = images.shape
    if height % CELL or width % CELL:
        raise ValueError(f"a view must be a multiple of {CELL} px on each side, got {width} x {height}")
    cells = images.view(batch, height // CELL, MERGE, PATCH, width // CELL, MERGE, PATCH, 3)
    cells = cells.permute(0, 1, 4, 2, 5, 7, 3, 6).reshape(batch, -1, 3 * PATCH * PATCH)
    return cells.to(torch.float32).mul_(2 / 255).sub_(1)


@lru_cache(maxsize=64)
def _positions(height: int, width: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Grid of `height` x `width` patches: learned-position ids and their weights [N, 4], (row, column) [N, 2]."""
    from transformers.vision_utils import get_vision_interpolation_indices_and_weights, get_vision_position_ids

    grid = torch.tensor([[1, height, width]])
    indices, weights = get_vision_interpolation_indices_and_weights(
        grid, num_grid_per_side=side, mode="bilinear", align_corners=True, spatial_merge_size=MERGE, kwargs={}
    )
    return indices, weights, get_vision_position_ids(grid, MERGE, kwargs={})


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


def _attend(attention: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    batch, count, width = x.shape
    qkv = attention.qkv(x).view(batch, count, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    query, key = _rotate(qkv[0], cos, sin), _rotate(qkv[1], cos, sin)
    weights = torch.softmax((query * attention.scaling) @ key.transpose(-1, -2), dim=-1)
    out: Tensor = attention.proj((weights @ qkv[2]).transpose(1, 2).reshape(batch, count, width))
    return out


def _block(block: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    x = x + _attend(block.attn, block.norm1(x), cos, sin)
    out: Tensor = x + block.mlp(block.norm2(x))
    return out


def encode(visual: nn.Module, images: Tensor, deepstack: bool = True) -> Seen:
    """Run `visual` (a Qwen3VLVisionModel) over uint8 [B, H, W, 3], sides multiples of 32; `deepstack` or without."""
    tower: Any = visual
    batch, height, width, _ = images.shape
    indices, weights, places = _positions(height // PATCH, width // PATCH, tower.num_grid_per_side)
    kernel = tower.patch_embed.proj.weight.sum(2).flatten(1)
    patches = patchify(images).to(kernel.dtype)
    learned = (tower.pos_embed(indices) * weights[:, :, None]).sum(1)
    x = nn.functional.linear(patches, kernel, tower.patch_embed.proj.bias) + learned
    cos, sin = tower.rotary_pos_emb(x, places)
    if torch.is_autocast_enabled(images.device.type):
        dtype = torch.get_autocast_dtype(images.device.type)
        x, cos, sin = x.to(dtype), cos.to(dtype), sin.to(dtype)
    stacked = []
    for number, layer in enumerate(tower.blocks):
        x = _block(layer, x, cos, sin)
        if deepstack and number in tower.deepstack_visual_indexes:
            merger = tower.deepstack_merger_list[list(tower.deepstack_visual_indexes).index(number)]
            stacked.append(merger(x).view(batch, x.shape[1] // MERGE**2, -1))
    return Seen(x, tower.merger(x).view(batch, x.shape[1] // MERGE**2, -1), tuple(stacked))
