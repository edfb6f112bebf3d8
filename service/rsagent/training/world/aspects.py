"""Facts that hold of several names at once: habitats, uses, parts, makers, materials, opposites.

`knowledge.tsv` has sentences about one name each; `aspects.tsv` has what is true of all animals of the sea, of all that
has strings, of all that is slow, with every name it is true of and every name over which people would disagree. A
request is made of a fact only where none of the latter is in sight.

The split of these facts is of no list that could drift: a fact is held out, with all its wordings, if the first byte
of `sha256(noun|first wording)` is below 51 (of 256), a fifth of them. Held-out facts are asked with the voice
"heldout" alone; no training asks with that voice.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache

from rsagent.training.world.knowledge import CATEGORIES
from rsagent.training.world.names import entries, listed, read_table
from rsagent.training.world.phrasing import Voice

BELOW = 51
THING = "thing"
LIKE_PERSONS = frozenset({"doll", "snowman", "statue", "totem pole", "teddy bear", "nutcracker", "school sign"})


@dataclass(frozen=True)
class Aspect:
    """A fact. `sayings` are verb phrases ("lives in the sea") that all say it; `noun` is what they are said of
    ("animal", "thing"); it is true of `true_of`, and arguable of `arguable`."""

    aspect: str
    noun: str
    sayings: tuple[str, ...]
    true_of: frozenset[str]
    arguable: frozenset[str]

    @property
    def voice(self) -> Voice:
        """Whether it is for training or held out."""
        digest = hashlib.sha256(f"{self.noun}|{self.sayings[0]}".encode()).digest()
        return "heldout" if digest[0] < BELOW else "train"


def _meant(cell: str, sets: dict[str, str]) -> frozenset[str]:
    """Names of a cell, with "@set" and "kind:x" written out."""
    found: set[str] = set()
    for part in listed(cell):
        if part.startswith("@"):
            found |= _meant(sets[part[1:]], sets)
        elif part.startswith("kind:"):
            found |= {entry.name for entry in entries() if part[5:] in entry.kinds}
        else:
            found.add(part)
    return frozenset(found)


@cache
def aspects() -> tuple[Aspect, ...]:
    """The whole table."""
    rows = read_table("aspects.tsv")
    sets = {row[0][1:]: row[1] for row in rows if row[0].startswith("=")}
    return tuple(_aspect((*row, "")[:5], sets) for row in rows if not row[0].startswith("="))


def _aspect(row: tuple[str, ...], sets: dict[str, str]) -> Aspect:
    aspect, noun, sayings, true_of, arguable = row
    true = _meant(true_of, sets)
    doubtful = next((names for word, names in CATEGORIES.values() if word == noun), frozenset[str]())
    if noun == "person":
        doubtful = LIKE_PERSONS
    return Aspect(aspect, noun, listed(sayings), true, (_meant(arguable, sets) | doubtful) - true)


def of_one(fact: Aspect, saying: str, pick: int) -> str:
    """A phrase for the one thing that a fact holds of; `pick` chooses among the ways to put it."""
    ways = [f"the {fact.noun} that {saying}", f"the {fact.noun} which {saying}", f"the one that {saying}"]
    ways += [f"what {saying}", f"the object that {saying}"] if fact.noun == THING else [f"which {fact.noun} {saying}?"]
    return ways[pick % len(ways)]


def of_all(fact: Aspect, saying: str, pick: int) -> str:
    """A phrase for all things that a fact holds of."""
    ways = [f"every {fact.noun} that {saying}", f"each {fact.noun} that {saying}"]
    ways += [f"everything that {saying}"] if fact.noun == THING else [f"every single {fact.noun} that {saying}"]
    return ways[pick % len(ways)]
