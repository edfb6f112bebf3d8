"""Choosing a token, one row at a time, so that a row's text does not depend on its neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from rsagent.policy.protocol import Sampling


class Sampler:
    """One turn's dice. With a seed, the same logits give the same tokens; temperature 0 takes the likeliest."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._dice = torch.Generator()
        if sampling.seed is None:
            self._dice.seed()
        else:
            self._dice.manual_seed(sampling.seed)

    def choose(self, logits: Tensor) -> int:
        """A token id from `logits` float32 [vocabulary]."""
        if self._sampling.temperature <= 0:
            return int(logits.argmax())
        chances = torch.softmax(logits.cpu() / self._sampling.temperature, dim=-1)
        if self._sampling.top_p < 1:
            chances = nucleus(chances, self._sampling.top_p)
        return drawn(chances, self._dice)


def drawn(chances: Tensor, dice: torch.Generator) -> int:
    """An index drawn with `chances` [n], which need not add up to 1: one throw against their running sum. A fifth of
    what `torch.multinomial` takes, which throws for every token of the vocabulary."""
    reached = chances.double().cumsum(-1)
    thrown = torch.rand(1, generator=dice, dtype=torch.float64) * reached[-1]
    index = int(torch.searchsorted(reached, thrown, right=True))
    return index if index < len(chances) else int(chances.argmax())  # a throw that was rounded up to the whole


def nucleus(chances: Tensor, top_p: float) -> Tensor:
    """`chances` [n] with all but the fewest likeliest tokens that together reach `top_p` set to 0; not renormalised."""
    ordered, order = chances.sort(descending=True)
    beyond = ordered.cumsum(-1) - ordered >= top_p
    beyond[0] = False
    return chances.index_fill(0, order[beyond], 0.0)


def log_probability(logits: Tensor, token: int, temperature: float = 1.0) -> float:
    """Natural logarithm of a token's chance at a temperature, no nucleus: what training needs. A greedy choice has no
    chances; at temperature 0 it is told the model's own."""
    scores = logits / temperature if temperature > 0 else logits
    return float(scores[token] - scores.logsumexp(-1))
