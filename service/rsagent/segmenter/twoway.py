"""SAM's two-way transformer, computed from the side of its few tokens.

A prompt is some nine tokens, an image thousands of cells. SAM projects every cell to queries, keys and values, once for
each attention; the same products associate the other way round, too: (x W) · k = x · (W k), and Σ p (x W) = (Σ p x) W.
So the projections are applied to the tokens, the cells are read as they are, and the work for them falls by half.
Parameters and result are `segment_anything`'s own, but for the order in which floats are summed. Beyond some thirty
tokens (clicks) the other order would be the cheaper one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from segment_anything.modeling import TwoWayTransformer
    from segment_anything.modeling.transformer import Attention, TwoWayAttentionBlock


def attend(
    transformer: TwoWayTransformer, source: torch.Tensor, positions: torch.Tensor, tokens: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `TwoWayTransformer.forward`: cells `source` [B, C, h, w], their `positions` [1, C, h, w] and `tokens`
    [B, T, C] → tokens [B, T, C] and cells [B, h·w, C]."""
    cells = source.flatten(2).transpose(1, 2)
    place = positions.flatten(2).transpose(1, 2)
    found = tokens
    for block in transformer.layers:
        found, cells = _block(block, found, cells, tokens, place)
    read = from_cells(transformer.final_attn_token_to_image, found + tokens, cells + place, cells)
    return transformer.norm_final_attn(found + read), cells


def _block(
    block: TwoWayAttentionBlock, found: torch.Tensor, cells: torch.Tensor, tokens: torch.Tensor, place: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `TwoWayAttentionBlock.forward`, in which both attentions between tokens and cells see the same `placed`."""
    if block.skip_first_layer_pe:
        found = block.self_attn(q=found, k=found, v=found)
    else:
        asked = found + tokens
        found = found + block.self_attn(q=asked, k=asked, v=found)
    found = block.norm1(found)
    placed = cells + place
    found = block.norm2(found + from_cells(block.cross_attn_token_to_image, found + tokens, placed, cells))
    found = block.norm3(found + block.mlp(found))
    told = to_cells(block.cross_attn_image_to_token, placed, found + tokens, found)
    return found, block.norm4(cells + told)


def from_cells(attention: Attention, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """What tokens read in cells, as `Attention.forward`: [B, T, C], and [B, N, C] twice → [B, T, C].

    The bias of the keys is left out: it adds the same to a token's scores for all cells.
    """
    heads = attention.num_heads
    sought = _absorbed(_heads(attention.q_proj(queries), heads), attention.k_proj.weight)
    weights = (sought.flatten(1, 2) @ keys.transpose(1, 2)).softmax(-1)
    mixed = torch.unflatten(weights @ values, 1, (heads, -1))
    project = attention.v_proj.weight.unflatten(0, (heads, -1))
    read = (mixed @ project.transpose(1, 2)).transpose(1, 2).flatten(2)
    out: torch.Tensor = attention.out_proj(read + attention.v_proj.bias)
    return out


def to_cells(attention: Attention, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """What cells are told by tokens, as `Attention.forward`: [B, N, C], and [B, T, C] twice → [B, N, C]."""
    heads = attention.num_heads
    offered = _heads(attention.k_proj(keys), heads)
    sought = _absorbed(offered, attention.q_proj.weight).flatten(1, 2)
    bias = attention.q_proj.bias.unflatten(0, (heads, -1, 1)) / math.sqrt(offered.shape[-1])
    scores = torch.unflatten(sought @ queries.transpose(1, 2), 1, (heads, -1)) + offered @ bias
    told = _heads(attention.v_proj(values), heads) @ attention.out_proj.weight.T.unflatten(0, (heads, -1))
    told = told + attention.out_proj.bias / heads  # the weights of every head sum to one
    out: torch.Tensor = scores.softmax(2).flatten(1, 2).transpose(1, 2) @ told.flatten(1, 2)
    return out


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """[B, T, heads · d] → [B, heads, T, d]."""
    return torch.unflatten(x, 2, (heads, -1)).transpose(1, 2)


def _absorbed(tokens: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Tokens [B, heads, T, d] as what the cells' projection by `weight` [heads · d, C] would be multiplied with, over
    √d: [B, heads, T, C]."""
    out: torch.Tensor = tokens @ torch.unflatten(weight, 0, (tokens.shape[1], -1)) / math.sqrt(tokens.shape[-1])
    return out
