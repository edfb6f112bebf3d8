"""Slots of keys and values, and the cache of prefixes."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from rsagent.policy.kv import GRAIN, PrefixCache, Slots, common_prefix

CPU = torch.device("cpu")


def sequence(*tokens: int) -> np.ndarray:
    return np.array(tokens, dtype=np.int64)


def values(tokens: int, fill: float = 1.0) -> torch.Tensor:
    """[2 layers, 2, 1 head, tokens, 4 dim]: 64 bytes a token."""
    return torch.full((2, 2, 1, tokens, 4), fill)


@given(st.lists(st.integers(0, 2), max_size=8), st.lists(st.integers(0, 2), max_size=8))
def test_common_prefix_is_what_the_definition_says(one: list[int], other: list[int]) -> None:
    count = common_prefix(sequence(*one), sequence(*other))
    assert one[:count] == other[:count]
    assert count == min(len(one), len(other)) or one[count] != other[count]


def test_rows_keep_their_values_when_slots_grow_and_move() -> None:
    slots = Slots(2, 1, 4, rows=3, dtype=torch.float32, device=CPU)
    slots.reserve(5)
    slots.write(0, values(5, 1.0))
    slots.write(2, values(3, 2.0))
    slots.reserve(GRAIN + 1)
    assert slots.capacity >= GRAIN + 1
    slots.move(2, 1, 3)
    assert torch.equal(slots.read(0, 5), values(5, 1.0))
    assert torch.equal(slots.read(1, 3), values(3, 2.0))


def test_a_step_writes_each_row_behind_its_own_tokens() -> None:
    slots = Slots(1, 1, 4, rows=2, dtype=torch.float32, device=CPU)
    slots.reserve(8)
    new = torch.arange(2.0)[:, None, None, None].expand(2, 1, 1, 4) + 5
    cache = slots.step(torch.tensor([1, 3]))
    keys, _ = cache.update(new, -new, 0)
    assert keys.shape == (2, 1, 4, 4)
    assert keys[:, 0, :, 0].tolist() == [[0, 5, 0, 0], [0, 0, 0, 6]]
    assert slots.read(1, 4)[0, 1, 0, :, 0].tolist() == [0, 0, 0, -6]


def test_an_append_sees_the_row_from_its_start() -> None:
    slots = Slots(1, 1, 4, rows=2, dtype=torch.float32, device=CPU)
    slots.reserve(8)
    slots.write(1, torch.ones(1, 2, 1, 2, 4))
    cache = slots.append(1, 2)
    keys, _ = cache.update(torch.full((1, 1, 3, 4), 7.0), torch.zeros(1, 1, 3, 4), 0)
    assert cache.get_seq_length() == 2
    assert keys[0, 0, :, 0].tolist() == [1, 1, 7, 7, 7]


def test_the_longest_prefix_is_found() -> None:
    cache = PrefixCache(10_000)
    cache.keep(sequence(1, 2, 9), values(3, 1.0))
    cache.keep(sequence(1, 2, 3, 4), values(4, 2.0))
    count, found = cache.find(sequence(1, 2, 3, 7, 8))
    assert count == 3
    assert found is not None
    assert float(found.max()) == 2.0
    assert cache.find(sequence(5)) == (0, None)


def test_a_continuation_replaces_what_it_continues() -> None:
    cache = PrefixCache(10_000)
    cache.keep(sequence(1, 2), values(2))
    cache.keep(sequence(1, 3), values(2))
    cache.keep(sequence(1, 2, 3), values(3))
    assert len(cache) == 2
    assert cache.bytes == 5 * 64


def test_the_least_recently_used_goes_first() -> None:
    cache = PrefixCache(64 * 6)
    cache.keep(sequence(1, 1, 1), values(3))
    cache.keep(sequence(2, 2, 2), values(3))
    cache.find(sequence(1, 1))
    cache.keep(sequence(3, 3), values(2))
    assert cache.find(sequence(2, 2))[0] == 0
    assert cache.find(sequence(1, 1))[0] == 2
    cache.keep(
        sequence(
            4,
        ),
        values(100),
    )
    assert cache.find(sequence(4))[0] == 0
    cache.clear()
    assert (len(cache), cache.bytes) == (0, 0)
