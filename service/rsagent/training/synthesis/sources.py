"""Where scenes and requests come from: the collage world, shard by shard, or a list of one's own pictures."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Protocol

from rsagent.training.policy.paraphrase import paraphrase
from rsagent.training.world import World
from rsagent.training.world.combinations import Combinations
from rsagent.training.world.phrasing import Voice
from rsagent.training.world.requests import ALL_KINDS, Kind, Request, requests
from rsagent.training.world.scene import Scene, Split
from rsagent.training.world.situations import SITUATIONS, Situation, recipe, shows

SIZES = ((448, 448), (384, 512), (512, 384))
"""Height and width of the pictures, in turn: twice what the nano policy sees at once, so that a zoom shows more."""
SCENES = 16
"""Scenes in a shard."""
PLAIN = 2
"""How much more often a plain scene comes up than each of the difficult ones."""
OTHERWISE = 0.35
"""Share of requests that are said in other words than the world's own."""
WEIGHTS: dict[str, float] = {
    "name": 3.0, "attribute": 1.5, "relation": 1.5, "reasoning": 2.0, "several": 1.5, "absent": 1.5,
    "count": 0.7, "ordinal": 0.7, "compound": 0.7, "knowledge": 2.0, "shared": 0.7, "except": 0.5, "denied": 0.7,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Occasion:
    """A scene with requests to be played about it, and its name."""

    name: str
    scene: Scene = field(repr=False)
    requests: tuple[Request, ...]


class Source(Protocol):
    """Scenes by shard. It must be picklable: each worker process opens its own."""

    @property
    def name(self) -> str: ...

    @property
    def split(self) -> str: ...

    def shard(self, number: int) -> Sequence[Occasion]:
        """The occasions of a shard, the same each time; none when the source is at its end."""
        ...


@cache
def _world(split: Split) -> World:
    return World(split)


@dataclass(frozen=True)
class WorldSource:
    """Collages without end. `each` requests a scene; `combinations` which names may meet."""

    split: Split = "train"
    voice: Voice = "train"
    kinds: tuple[Kind, ...] = ALL_KINDS
    situations: tuple[Situation, ...] = SITUATIONS
    combinations: Combinations = "seen"
    each: int = 8
    seed: int = 0
    name: str = "world"

    def shard(self, number: int) -> Sequence[Occasion]:
        """See `Source`. Raises MaterialMissing without the world's Debian packages."""
        first = (self.seed * 100_003 + number) * SCENES
        return [self._occasion(at) for at in range(first, first + SCENES)]

    def _occasion(self, number: int) -> Occasion:
        world, chance = _world(self.split), random.Random(f"occasion:{number}")
        weights = [PLAIN if situation == "plain" else 1 for situation in self.situations]
        situation = chance.choices(self.situations, weights)[0]
        # A range of seeds of their own: no scene of the evaluation or of the albums comes up.
        scene = world.scene(10_000_000 + number, recipe(situation, SIZES[number % len(SIZES)], self.combinations))
        made = requests(scene, world, number, self.kinds, each=3, voice=self.voice)
        fitting = [request for request in made if shows(situation, scene, request)] or list(made)
        chosen = pick(fitting, self.each, chance)
        said = tuple(self._said(request, chance) for request in chosen)
        return Occasion(f"{situation}-{scene.seed}", scene, said)

    def _said(self, request: Request, chance: random.Random) -> Request:
        if self.voice != "train" or chance.random() >= OTHERWISE:
            return request
        return replace(request, text=paraphrase(request.text, request.kind, chance))


def pick(found: Sequence[Request], count: int, chance: random.Random) -> list[Request]:
    """At most `count` different ones, each kind as likely as its weight says, however many there are of it."""
    tally = {kind: sum(request.kind == kind for request in found) for kind in {request.kind for request in found}}

    def luck(request: Request) -> float:
        """The key of weighted sampling without replacement (Efraimidis and Spirakis, 2006)."""
        return float(chance.random() ** (tally[request.kind] / WEIGHTS.get(request.kind, 1.0)))

    order = sorted(found, key=luck, reverse=True)
    return order[:count]
