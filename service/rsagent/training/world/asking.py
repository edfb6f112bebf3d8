"""What a request is, and what everyone needs who makes one: the scene's names, nouns, groups and voice."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from rsagent.training.world.knowledge import CATEGORIES, Fact, facts
from rsagent.training.world.names import Entry
from rsagent.training.world.phrasing import Voice, definite, framed, typed
from rsagent.training.world.scene import Scene, World

Kind = Literal[
    "name", "attribute", "relation", "reasoning", "several", "absent",
    "count", "ordinal", "compound", "knowledge", "shared", "except", "denied",
]  # fmt: skip
KINDS: tuple[Kind, ...] = ("name", "attribute", "relation", "reasoning", "several", "absent")
"""The kinds that the nano policy was first trained and is measured on."""
FURTHER: tuple[Kind, ...] = ("count", "ordinal", "compound", "knowledge", "shared", "except", "denied")
"""Harder ones: exact numbers; places in a row; a category by its place; facts of `world.facts` about one object;
about several; all but one; what is not there though its like is."""
ALL_KINDS = KINDS + FURTHER
WITHOUT_TARGET: tuple[Kind, ...] = ("absent", "denied")


@dataclass(frozen=True)
class Request:
    """A sentence about a scene.

    `targets` index `scene.objects`, empty when nothing there is meant; `subject` is the plain name
    of what is looked for; `anchor` the object a relation refers to.
    """

    text: str
    kind: Kind
    targets: tuple[int, ...]
    subject: str
    anchor: int | None = None


class Asker:
    """One scene, one voice, one stream of chance."""

    def __init__(self, scene: Scene, world: World, voice: Voice, rng: random.Random) -> None:
        self.scene, self.world, self.voice, self.rng = scene, world, voice, rng
        self.objects = scene.objects
        self.times = Counter(placed.name for placed in scene.objects)
        self.seen = frozenset(self.times) | {world.names[i] for i in self.ground if i < len(world.names)}
        self.single = [i for i, placed in enumerate(self.objects) if self.times[placed.name] == 1]

    @cached_property
    def ground(self) -> frozenset[int]:
        return self.world.in_the_ground(self.scene.seed)

    @property
    def told_in(self) -> Voice:
        """The voice of the sentences about things; only "heldout" has its own."""
        return "heldout" if self.voice == "heldout" else "train"

    def entry(self, index: int) -> Entry:
        return self.world.entries[self.objects[index].name_id]

    def noun(self, entry: Entry) -> str:
        """What someone calls it: its name, or in two cases of five a synonym."""
        return self.rng.choice(entry.aliases) if entry.aliases and self.rng.random() < 0.4 else entry.name

    def known(self, name: str) -> tuple[Fact, ...]:
        """The sentences about a name that its world knows."""
        return facts(self.world.lore).get(name, ())

    def the(self, index: int) -> str:
        return definite(self.noun(self.entry(index)))

    def say(self, np: str) -> str:
        return framed(np, self.voice, self.rng)

    def group(self, name: str) -> list[int]:
        return [i for i, placed in enumerate(self.objects) if placed.name == name]

    def told(self, text: str) -> str:
        """A sentence as it stands when it is a whole one; a noun phrase within a request."""
        if text[-1] in ".?!":
            return text
        return typed(text, self.rng) if text.startswith("what ") and self.rng.random() < 0.5 else self.say(text)

    def categories(self) -> Iterator[tuple[str, list[int]]]:
        """Category words nobody would dispute here, and the objects they mean."""
        for kind, (word, doubtful) in CATEGORIES.items():
            shown = any(kind in self.world.entries[i].kinds for i in self.ground if i < len(self.world.entries))
            if not shown and not doubtful & self.seen:
                yield word, [i for i, _ in enumerate(self.objects) if kind in self.entry(i).kinds]
