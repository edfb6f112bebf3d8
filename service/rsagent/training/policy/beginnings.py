"""Where the language model starts from: scales, numbers, names and copying heads that need not be found by chance."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rsagent.training.policy.album import Album
from rsagent.training.policy.dense import FEATURES, DenseHeads, smooth_features
from rsagent.training.policy.lessons import Scribe
from rsagent.training.policy.shape import TEXT
from rsagent.training.policy.tower import encode


@torch.no_grad()
def prepare_language(model: Any, scribe: Scribe) -> None:
    """Scale matrices to their width, and give numbers embeddings in which near ones are alike."""
    language, depth = model.model.language_model, len(model.model.language_model.layers)
    for name, p in language.layers.named_parameters():
        if p.ndim == 2:
            nn.init.normal_(
                p, std=p.shape[1] ** -0.5 / (math.sqrt(2 * depth) if "o_proj" in name or "down" in name else 1)
            )
    for layer in language.layers:
        _copying(layer.self_attn)
    table = language.embed_tokens.weight
    nn.init.normal_(table, std=0.05)
    numbers = torch.tensor([scribe.tokenizer.encode(str(number))[0] for number in range(1000)])
    table[numbers] = 0.2 * smooth_features(torch.arange(1000.0), FEATURES) @ number_axes()


def number_axes() -> Tensor:
    """[64, T]: the orthonormal directions in which the embeddings of numbers differ."""
    axes: Tensor = torch.linalg.qr(torch.randn(TEXT, FEATURES, generator=torch.Generator().manual_seed(1)))[0].T
    return axes


def _copying(attention: Any) -> None:
    """Start every other head as one that looks for what is like itself and copies it (keys made as queries are,
    outputs as values are): a name then finds the tokens of its object from the first step (cf. Trockman and Kolter
    2023, "Mimetic initialization of self-attention layers"). Left to chance, finding it took thousands of steps."""
    width = attention.head_dim
    attention.k_proj.weight.copy_(attention.q_proj.weight.view(-1, 2 * width, TEXT)[:, :width].reshape(-1, TEXT))
    nn.init.orthogonal_(attention.v_proj.weight)
    for group, value in enumerate(attention.v_proj.weight.view(-1, width, TEXT)):
        attention.o_proj.weight[:, 2 * group * width : (2 * group + 1) * width] = 0.3 * value.T


@torch.no_grad()
def centre(model: Any, heads: DenseHeads, album: Album) -> None:
    """Take the mean of all image tokens out of the merger and bring them to unit scale.

    Dense training leaves every token with one large common part (two thirds of its length); the language model's
    norms, which do not centre, would let through little else. The probes get it back (`DenseHeads.tokens`).
    """
    batch = next(album.batches(48, seed=3))
    merged = encode(model.model.visual, torch.from_numpy(batch.images), deepstack=False).merged.flatten(0, 1)
    heads.shift.copy_(merged.mean(0))
    heads.scale.copy_((merged - heads.shift).std())
    last = model.model.visual.merger.linear_fc2
    last.weight.div_(heads.scale)
    last.bias.sub_(heads.shift).div_(heads.scale)


@torch.no_grad()
def name_embeddings(model: Any, scribe: Scribe, heads: DenseHeads, names: Sequence[str]) -> None:
    """Let each word start out as what the tower's probe looks for when it looks for the names with that word."""
    table = model.model.language_model.embed_tokens.weight
    probe = heads.cell.weight[1:] * heads.norm.weight
    probe = probe - probe.mean(0)
    probe = probe / probe.norm(dim=1, keepdim=True) * 0.1 * math.sqrt(table.shape[1])
    users: defaultdict[int, list[int]] = defaultdict(list)
    for number, name in enumerate(names):
        for token in set(scribe.tokenizer.encode(" " + name)):
            users[token].append(number)
    for token, numbers in users.items():
        if len(numbers) < 8:
            table[token] = table[token] * 0.3 + probe[numbers].mean(0)
