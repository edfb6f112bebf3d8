"""What things are for, where they live, what they are made of: sentences that never name them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from rsagent.training.world.names import entries, listed, read_table
from rsagent.training.world.phrasing import Voice

UNUSUAL_BUILDINGS = frozenset({"windmill", "tent", "tepee", "circus tent", "igloo", "eiffel tower", "pyramid"})
# What a plain category word means here, and the names over which people would disagree.
CATEGORIES: dict[str, tuple[str, frozenset[str]]] = {
    "animal": ("animal", frozenset({"teddy bear", "rubber duck", "mermaid", "roast turkey", "dinosaur", "shell"})),
    "bird": ("bird", frozenset({"rubber duck", "roast turkey"})),
    "insect": ("insect", frozenset({"snail", "slug"})),
    "fruit": ("fruit", frozenset({"tomato", "pumpkin", "eggplant", "bell pepper", "chili pepper", "corn"})),
    "vegetable": ("vegetable", frozenset({"mushroom", "avocado", "jack-o'-lantern", "lemon"})),
    "vehicle": ("vehicle", frozenset({"lunar lander", "satellite", "wheel", "cement mixer", "shipwreck", "train car"})),
    "instrument": ("musical instrument", frozenset()),
    "hat": ("hat", frozenset({"knight helmet", "football helmet", "santa claus", "snowman"})),
    "ball": ("ball", frozenset({"jack-o'-lantern", "earth", "moon"})),
    "road sign": ("road sign", frozenset({"traffic light", "traffic cone"})),
    "building": ("building", UNUSUAL_BUILDINGS),
    "flower": ("flower", frozenset({"lavender"})),
}


Lore = Literal["asked", "told", "practised"]
"""Which sentences there are: those that evaluations ask, known and held out; with them what supervised training is
told; what only reinforcement learning practises on."""
TABLES: dict[Lore, tuple[str, ...]] = {
    "asked": ("knowledge.tsv",),
    "told": ("knowledge.tsv", "knowledge_more.tsv"),
    "practised": ("knowledge_practice.tsv",),
}


@dataclass(frozen=True)
class Fact:
    """A sentence about a name, for training or held out, and which further names it is true of as well."""

    name: str
    voice: Voice
    text: str
    also: frozenset[str]

    @property
    def true_of(self) -> frozenset[str]:
        """Every name that the sentence describes."""
        return self.also | {self.name}


def _meant(cell: str) -> frozenset[str]:
    """Names of a cell, where "kind:bird" stands for all names of that kind."""
    found: set[str] = set()
    for part in listed(cell):
        kind = part.removeprefix("kind:")
        found |= {part} if kind == part else {entry.name for entry in entries() if kind in entry.kinds}
    return frozenset(found)


def _voice(word: str) -> Voice:
    return "heldout" if word == "heldout" else "train"


@cache
def facts(lore: Lore = "asked") -> dict[str, tuple[Fact, ...]]:
    """The sentences of a lore, by the name they are about."""
    rows = ((*row, "")[:4] for table in TABLES[lore] for row in read_table(table))
    found: dict[str, list[Fact]] = {}
    for name, voice, text, also in rows:
        found.setdefault(name, []).append(Fact(name, _voice(voice), text, _meant(also)))
    return {name: tuple(known) for name, known in found.items()}
