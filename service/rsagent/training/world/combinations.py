"""Which names never meet in training: a tenth of all pairs, fixed by the hash of the two names.

A model that only knows which things go together fails on scenes where such a pair meets. Scenes of a recipe with
`combinations="seen"` hold no such pair, those with "novel" at least one (where the names allow it); "any" does not
care. The split is of no list that could drift: `sha256("one|other")`, the names in alphabetical order, first byte
below 26 (of 256).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from typing import Literal

from rsagent.training.world.names import entries

Combinations = Literal["any", "seen", "novel"]
BELOW = 26


@cache
def held_out(one: str, other: str) -> bool:
    """Whether training never sees two names together; their order does not matter, and a name may meet itself."""
    pair = "|".join(sorted((one, other)))
    return one != other and hashlib.sha256(pair.encode()).digest()[0] < BELOW


@cache
def partners(name: str) -> frozenset[str]:
    """All names that `name` never meets in training."""
    return frozenset(entry.name for entry in entries() if held_out(name, entry.name))


def admits(combinations: Combinations, name: str, present: Iterable[str]) -> bool:
    """Whether a name may join those that are present already."""
    return combinations != "seen" or not any(held_out(name, other) for other in present)
