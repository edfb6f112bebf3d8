"""Keys and values of the rows being generated, and what is kept of earlier turns.

Rows are packed at the left: row *r* holds tokens 0 … length-1 of its sequence at the same places of its slot,
whatever its neighbours' lengths. A token is written once, a finished row's place is taken by the last row, and no
step copies the cache.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.cache_utils import Cache

Keys = NDArray[np.int64]
"""[n] names of tokens: the id of a text token, a negative hash for a token of an image."""

GRAIN = 256


class Slots:
    """The working memory: [layers, 2, rows, heads, capacity, dim]; the 2 are keys and values."""

    def __init__(self, layers: int, heads: int, dim: int, rows: int, dtype: torch.dtype, device: torch.device) -> None:
        # Zeros, not empty: a masked place still enters the product with weight 0, and 0 × NaN is NaN.
        self._memory = torch.zeros((layers, 2, rows, heads, 0, dim), dtype=dtype, device=device)

    @property
    def capacity(self) -> int:
        return int(self._memory.shape[4])

    def reserve(self, tokens: int) -> None:
        """Make room for rows of `tokens` tokens, keeping what is there."""
        if tokens <= self.capacity:
            return
        shape = list(self._memory.shape)
        shape[4] = -(-max(tokens, self.capacity * 3 // 2) // GRAIN) * GRAIN
        grown = torch.zeros(shape, dtype=self._memory.dtype, device=self._memory.device)
        grown[..., : self.capacity, :] = self._memory
        self._memory = grown

    def write(self, row: int, kept: Tensor) -> None:
        """Put [layers, 2, heads, n, dim] at the start of a row."""
        self._memory[:, :, row, :, : kept.shape[3]] = kept

    def read(self, row: int, tokens: int) -> Tensor:
        """A copy of a row's first tokens: [layers, 2, heads, tokens, dim]."""
        return self._memory[:, :, row, :, :tokens].clone()

    def move(self, source: int, target: int, tokens: int) -> None:
        """Copy the first tokens of one row over another row."""
        if source != target:
            self._memory[:, :, target, :, :tokens] = self._memory[:, :, source, :, :tokens]

    def append(self, row: int, start: int) -> Cache:
        """A cache for a forward pass over the tokens of one row from `start` on."""
        return _Append(self._memory, row, start)

    def step(self, lengths: Tensor) -> Cache:
        """A cache for a forward pass over one token of each of the first rows; `lengths` [rows] are those before it."""
        return _Step(self._memory, lengths)


class _Append(Cache):
    def __init__(self, memory: Tensor, row: int, start: int) -> None:
        super().__init__(layers=[])
        self._memory, self._row, self._start = memory, row, start

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        stop = self._start + key_states.shape[2]
        place = self._memory[layer_idx, :, self._row : self._row + 1]
        place[0, :, :, self._start : stop] = key_states
        place[1, :, :, self._start : stop] = value_states
        return place[0, :, :, :stop], place[1, :, :, :stop]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self._start


class _Step(Cache):
    def __init__(self, memory: Tensor, lengths: Tensor) -> None:
        super().__init__(layers=[])
        self._memory, self._lengths = memory, lengths
        self._rows = torch.arange(len(lengths), device=lengths.device)
        self._longest = int(lengths.max())

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        keys, values = self._memory[layer_idx]
        keys[self._rows, :, self._lengths] = key_states[:, :, 0]
        values[self._rows, :, self._lengths] = value_states[:, :, 0]
        count, stop = len(self._rows), self._longest + 1
        return keys[:count, :, :stop], values[:count, :, :stop]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self._longest


def common_prefix(one: Keys, other: Keys) -> int:
    """How many tokens two sequences share from their start."""
    count = min(len(one), len(other))
    differ = np.flatnonzero(one[:count] != other[:count])
    return int(differ[0]) if len(differ) else count


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """The keys and values [layers, 2, heads, n, dim] of the tokens `keys` [n]."""

    keys: Keys
    values: Tensor


class PrefixCache:
    """Sequences of earlier turns, least recently used first out, bounded by bytes. One thread's."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[int, Kept] = OrderedDict()
        self._next = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, keys: Keys) -> tuple[int, Tensor | None]:
        """The longest shared start: its length and the values of the entry (which may hold more), or (0, None)."""
        best, number = 0, -1
        for candidate, kept in self._entries.items():
            shared = common_prefix(kept.keys, keys)
            if shared > best:
                best, number = shared, candidate
        if number < 0:
            return 0, None
        self._entries.move_to_end(number)
        return best, self._entries[number].values

    def keep(self, keys: Keys, values: Tensor) -> None:
        """Remember a sequence; those that it continues are dropped."""
        if values.nbytes > self._max_bytes:
            return
        for number, kept in list(self._entries.items()):
            if common_prefix(kept.keys, keys) == len(kept.keys):
                self._drop(number)
        self._entries[self._next] = Kept(keys, values)
        self._next += 1
        self.bytes += values.nbytes
        while self.bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        self._entries.clear()
        self.bytes = 0

    def _drop(self, number: int) -> None:
        self.bytes -= self._entries.pop(number).values.nbytes
