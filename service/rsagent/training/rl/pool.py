"""What is asked in a run: requests about fresh scenes of the world's training split, without end."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, cycle, islice

import numpy as np
from numpy.typing import NDArray

from rsagent.segmenter.protocol import Mask
from rsagent.training.policy import lessons
from rsagent.training.policy.lessons import PLAIN, Words
from rsagent.training.world import Recipe, Scene, World
from rsagent.training.world.phrasing import Voice
from rsagent.training.world.requests import KINDS, Kind, Request, requests

SIZES = ((448, 448), (384, 512), (512, 384))
"""Height and width of the pictures, in turn: those of the evaluation, twice what the nano policy sees at once."""
ASKED: tuple[Kind, ...] = (*KINDS, "absent")
"""The kinds to learn from. Absent targets come twice: where one request in six is absent the policy learns to refuse
nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A request about a scene as the world made it, the words it is asked in, and its answer: `truth` bool [H, W],
    empty where nothing is meant."""

    scene: Scene = field(repr=False)
    request: Request
    query: str
    truth: Mask = field(repr=False)

    @property
    def image(self) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] RGB."""
        return self.scene.image


@dataclass(frozen=True, slots=True)
class Pool:
    """Requests about collages of 2–6 objects whose longer side is `side` of the picture's shorter one.

    The same for the same seed: a run that is resumed asks what it would have asked. Of the requests `otherwise` is the
    share that is said in other words: half, as when the policy was first trained; `words` are those it can be said
    with. `strange` is the share of grounds that no photograph shows, `voice` selects the phrasings.
    """

    world: World
    seed: int = 0
    side: tuple[float, float] = (0.12, 0.5)
    kinds: tuple[Kind, ...] = KINDS
    otherwise: float = 0.5
    words: Words = PLAIN
    strange: float = 0.0
    voice: Voice = "train"

    def items(self, batch: int, size: int) -> list[Item]:
        """Batch number `batch`, of `size` requests, the kinds in turn, each about a scene of its own."""
        scenes = self._scenes(batch)
        first = batch * size % len(self.kinds)
        return [self._item(kind, scenes) for kind in islice(cycle(self.kinds), first, first + size)]

    def _scenes(self, batch: int) -> Iterator[Scene]:
        start = (self.seed * 1_000_003 + batch) * 4096
        for number in count(start):
            size = SIZES[number % len(SIZES)]
            yield self.world.scene(number, Recipe(size=size, count=(2, 6), side=self.side, strange=self.strange))

    def _item(self, kind: Kind, scenes: Iterator[Scene]) -> Item:
        """A request of that kind about the next scene that allows one."""
        for scene in scenes:
            if made := requests(scene, self.world, scene.seed, kinds=(kind,), each=1, voice=self.voice):
                return _item(scene, made[0], self.words, self.otherwise)
        raise AssertionError("scenes never end")


def _item(scene: Scene, request: Request, words: Words, otherwise: float) -> Item:
    inside = {placed.name for placed in scene.objects}
    text = lessons.otherwise(request, random.Random(scene.seed), words, inside, otherwise).text
    truth = np.zeros(scene.image.shape[:2], dtype=np.bool_)
    for index in request.targets:
        truth |= scene.objects[index].mask
    return Item(scene, request, text, truth)
