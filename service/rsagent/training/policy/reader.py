"""The language model, run over a picture once and over what is asked about it in branches.

`read` computes what transformers' text model computes from the same parameters (tests hold the two to
each other), with two freedoms that training wants: keys and values of a shared past come in once for many
branches, and the mask is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Past = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of each layer, [B, key-value heads, P, head] each."""


def _norm(module: Any, x: Tensor) -> Tensor:
    return nn.functional.rms_norm(x, (x.shape[-1],), module.weight.to(x.dtype), module.variance_epsilon)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


def _attend(
    attention: Any,
    x: Tensor,
    turn: tuple[Tensor, Tensor],
    mask: Tensor,
    past: tuple[Tensor, Tensor] | None,
    watch: list[Tensor] | None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    batch, length, _ = x.shape
    heads = (batch, length, -1, attention.head_dim)
    query = _rotate(_norm(attention.q_norm, attention.q_proj(x).view(heads)).transpose(1, 2), *turn)
    key = _rotate(_norm(attention.k_norm, attention.k_proj(x).view(heads)).transpose(1, 2), *turn)
    value = attention.v_proj(x).view(heads).transpose(1, 2)
    if past is not None:
        repeats = batch // past[0].shape[0]
        key = torch.cat([past[0].repeat_interleave(repeats, 0), key], 2)
        value = torch.cat([past[1].repeat_interleave(repeats, 0), value], 2)
    grouped = query.reshape(batch, key.shape[1], -1, attention.head_dim)  # query heads of a group, one after another
    scores = (grouped * attention.scaling) @ key.transpose(-1, -2)
    weights = torch.softmax(scores.view(batch, -1, length, key.shape[2]) + mask, dim=-1)
    if watch is not None:
        watch.append(weights)
    mixed = weights.view(batch, key.shape[1], -1, key.shape[2]) @ value
    out = mixed.view(batch, -1, length, attention.head_dim).transpose(1, 2).reshape(batch, length, -1)
    return attention.o_proj(out), (key, value)


def _feed(mlp: Any, x: Tensor) -> Tensor:
    out: Tensor = mlp.down_proj(nn.functional.silu(mlp.gate_proj(x)) * mlp.up_proj(x))
    return out


def read(
    language: Any,
    x: Tensor,
    places: Tensor,
    mask: Tensor,
    past: Past | None = None,
    deepstack: Sequence[Tensor] = (),
    watch: Mapping[int, list[Tensor]] | None = None,
    taps: Mapping[int, list[Tensor]] | None = None,
) -> tuple[Tensor, Past]:
    """Run `language` (a Qwen3VLTextModel).

    `x` [B, S, T] embeddings; `places` int [3, B, S] M-RoPE positions; `mask` additive, broadcast to
    [B, heads, S, P + S]; `past` of B / k rows, each shared by k rows in order; `deepstack` [B, S, T] each, added
    after the first layers; `watch` collects the attention weights [B, heads, S, P + S] of the layers it names, `taps`
    the normalised states [B, S, T] that come in to the layers it names.
    Returns normalised states [B, S, T] and the keys and values, past included.
    """
    cos, sin = (part.unsqueeze(1) for part in language.rotary_emb(x.float(), places))
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, cos, sin, mask = x.to(dtype), cos.to(dtype), sin.to(dtype), mask.to(dtype)
    kept = []
    for number, layer in enumerate(language.layers):
        normal = _norm(layer.input_layernorm, x)
        if taps and number in taps:
            taps[number].append(normal)
        seen, pair = _attend(
            layer.self_attn,
            normal,
            (cos, sin),
            mask,
            past[number] if past else None,
            (watch or {}).get(number),
        )
        kept.append(pair)
        x = x + seen
        x = x + _feed(layer.mlp, _norm(layer.post_attention_layernorm, x))
        if number < len(deepstack):
            x = x + deepstack[number].to(x.dtype)
    return _norm(language.norm, x), tuple(kept)


def causal(length: int, past: int = 0) -> Tensor:
    """Additive mask [length, past + length]: each place sees the past and itself."""
    return torch.full((length, past + length), float("-inf")).triu(past + 1)


def image_places(start: int, rows: int, columns: int) -> Tensor:
    """M-RoPE positions [3, rows * columns] of an image's tokens that begins at `start`."""
    down, across = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([torch.zeros_like(down), down, across]).view(3, -1) + start


def token_places(tokens: Tensor, image_id: int, grids: Sequence[tuple[int, int]], start: int = 0) -> Tensor:
    """M-RoPE positions [3, S] of a sequence whose images (runs of `image_id`) have these grids (rows, columns)."""
    parts, place, index, grid = [], start, 0, iter(grids)
    flags = (tokens == image_id).tolist()
    while index < len(flags):
        if flags[index]:
            rows, columns = next(grid)
            parts.append(image_places(place, rows, columns))
            index, place = index + rows * columns, place + max(rows, columns)
        else:
            stop = next((i for i in range(index, len(flags)) if flags[i]), len(flags))
            parts.append(torch.arange(place, place + stop - index).expand(3, -1))
            place, index = place + stop - index, stop
    return torch.cat(parts, 1)
