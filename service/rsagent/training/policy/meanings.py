"""Embeddings of words that were never met: those of their neighbours.

While the policy learns, the embedding of a token is `base + M vector`: the base as it was learned (none for tokens that
are new), and one matrix M for all words. What M learns of the words of training sentences, it says of all others.
`plain` writes the sums into an ordinary table.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

NOISE = 0.35
BARE = 0.3
LOST = 0.06
HARD = 0.35
"""Of what is to be `hard`, so many words are lost."""
RIDGE = 3.0


class Meaning(nn.Module):
    """Stands in for the embedding table. In training the words that are `loose` bool [V] are blurred (by NOISE of
    their length), stripped of what was learned of themselves alone (BARE of them) or lost (LOST): none is to be known
    by heart."""

    vectors: Tensor
    loose: Tensor

    def __init__(self, base: Tensor, vectors: Tensor, loose: Tensor) -> None:
        super().__init__()
        self.base = nn.Parameter(base.clone())
        self.matrix = nn.Parameter(torch.zeros(base.shape[1], vectors.shape[1]))
        self.register_buffer("vectors", vectors, persistent=False)
        self.register_buffer("loose", loose, persistent=False)

    @torch.no_grad()
    def regress(self, known: Tensor) -> float:
        """Start M at the ridge regression of the embeddings of the tokens `known` on their vectors; their bases become
        what it leaves over. Returns the share of their variance that it explains."""
        x, y = self.vectors[known], self.base[known]
        gram = x.T @ x + RIDGE * len(x) * torch.eye(x.shape[1])
        self.matrix.copy_(torch.linalg.solve(gram, x.T @ y).T)
        self.base.sub_((self.vectors @ self.matrix.T)[: len(self.base)])
        return float(1 - (y - x @ self.matrix.T).square().sum() / y.square().sum())

    def forward(self, ids: Tensor, hard: Tensor | None = None) -> Tensor:
        """Embeddings of `ids`; in training, where `hard` bool (as `ids`), words are blurred and lost far more often."""
        vectors, own = self.vectors[ids], (ids < len(self.base))[..., None]
        base = functional.embedding(ids.clamp_max(len(self.base) - 1), self.base) * own
        if self.training:
            hard = torch.zeros_like(ids, dtype=torch.bool) if hard is None else hard & (vectors.abs().sum(-1) > 0)
            loose = (self.loose[ids] | hard)[..., None]
            kept, hard = torch.rand(2, *loose.shape), hard[..., None]
            spread = torch.where(hard, 2.5 * NOISE, NOISE) * vectors.norm(dim=-1, keepdim=True)
            blurred = vectors + spread / math.sqrt(vectors.shape[-1]) * torch.randn_like(vectors)
            vectors = torch.where(loose, blurred, vectors)
            base = torch.where(loose & (kept[0] < BARE), 0.0, base)
            lost = loose & (kept[1] < torch.where(hard, HARD, LOST))
            vectors, base = torch.where(lost, 0.0, vectors), torch.where(lost, 0.0, base)
        return base + vectors @ self.matrix.T

    @torch.no_grad()
    def table(self) -> Tensor:
        """The ordinary table [V, T]."""
        table = self.vectors @ self.matrix.T
        table[: len(self.base)] += self.base
        return table


def embedded(language: Any, ids: Tensor, hard: Tensor) -> Tensor:
    """Embeddings of `ids`, made `hard` where the table can do that."""
    table = language.embed_tokens
    found: Tensor = table(ids, hard) if isinstance(table, Meaning) else table(ids)
    return found


class Spoken(nn.Module):
    """Stands in for the head: tokens of old [V] and one more column for all new ones, which are never said."""

    def __init__(self, weight: Tensor, new: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.never = nn.Parameter(2 * weight.mean(0, keepdim=True))
        self.many = math.log(max(1, new))

    def forward(self, states: Tensor) -> Tensor:
        weight = torch.cat([self.weight, self.never])
        logits = functional.linear(states, weight.to(states.dtype))
        return torch.cat([logits[..., :-1], logits[..., -1:] + self.many], -1)

    @torch.no_grad()
    def table(self, size: int) -> Tensor:
        """The ordinary head [size, T]."""
        return torch.cat([self.weight, self.never.expand(size - len(self.weight), -1)])


def widen(model: Any, vectors: Tensor, loose: Tensor) -> Meaning:
    """Give an ordinary tied `model` the tokens of `vectors` beyond its own, and a head by itself."""
    old = model.model.language_model.embed_tokens.weight.detach()
    meaning = Meaning(old, vectors, loose)
    model.model.language_model.embed_tokens = meaning
    model.lm_head = Spoken(old, len(vectors) - len(old))
    return meaning


def plain(model: Any, into: Any) -> Any:
    """`into`, a fresh model of the whole vocabulary, with the weights of a widened `model`; its head is its own."""
    state = {name: value for name, value in model.state_dict().items() if "embed_tokens" not in name}
    state = {name: value for name, value in state.items() if not name.startswith("lm_head")}
    embedding = model.model.language_model.embed_tokens.table()
    into.lm_head.weight = nn.Parameter(model.lm_head.table(len(embedding)))
    into.config.tie_word_embeddings = into.config.text_config.tie_word_embeddings = False
    state |= {"model.language_model.embed_tokens.weight": embedding, "lm_head.weight": into.lm_head.weight}
    into.load_state_dict(state)
    return into


def loose_tokens(tokenizer: Any, vectors: Tensor, fixed: Collection[str]) -> Tensor:
    """bool [V]: tokens with a vector that occur in none of the texts `fixed`."""
    loose = vectors.abs().sum(1) > 0
    for text in fixed:
        loose[tokenizer.encode(text)] = False
    return loose
