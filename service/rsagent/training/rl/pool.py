"""What is asked in a run: requests about fresh scenes of the world's training split, without end."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, zip_longest

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
ASKED: tuple[Kind, ...] = (*KINDS, "absent", "several", "several")
"""The kinds to learn from. Absent targets come twice: where one request in six is absent the policy learns to refuse
nothing. Several things come three times: in most broad phrasings what stands between two nouns is a relation, and
where they came once "the goose together with the sword" was taken for one thing."""


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
    """Requests about collages of 2–6 objects whose longer side is `side` of the picture's shorter one, at most `each`
    about one scene.

    The same for the same seed: a run that is resumed asks what it would have asked. Of the requests `otherwise` is the
    share that is said in other words: half, as when the policy was first trained; `words` are those it can be said
    with. `strange` is the share of grounds that no photograph shows; scenes take turns with the `voices` that they are
    asked about in.
    """

    world: World
    seed: int = 0
    side: tuple[float, float] = (0.12, 0.5)
    kinds: tuple[Kind, ...] = KINDS
    otherwise: float = 0.5
    words: Words = PLAIN
    strange: float = 0.0
    voices: tuple[Voice, ...] = ("train",)
    each: int = 1

    def items(self, batch: int, size: int) -> list[Item]:
        """Batch number `batch`, of `size` requests, the kinds in turn; those about one scene stand together."""
        first = batch * size % len(self.kinds)
        wanted = Counter(self.kinds[number % len(self.kinds)] for number in range(first, first + size))
        found: list[Item] = []
        for scene in self._scenes(batch):
            found += self._about(scene, wanted)
            if len(found) == size:
                return found
        raise AssertionError("scenes never end")

    def _scenes(self, batch: int) -> Iterator[Scene]:
        start = (self.seed * 1_000_003 + batch) * 4096
        for number in count(start):
            size = SIZES[number % len(SIZES)]
            yield self.world.scene(number, Recipe(size=size, count=(2, 6), side=self.side, strange=self.strange))

    def _about(self, scene: Scene, wanted: Counter[Kind]) -> list[Item]:
        """Up to `each` requests about a scene that it allows, one of a kind and then another; they are wanted no more.
        The kind that lacks most goes first: few scenes allow some."""
        kinds = tuple(kind for kind, number in wanted.most_common() if number > 0)
        voice = self.voices[scene.seed % len(self.voices)]
        made = requests(scene, self.world, scene.seed, kinds=kinds, each=self.each, voice=voice)
        of_kind = {kind: [one for one in made if one.kind == kind][: wanted[kind]] for kind in kinds}
        dealt = [one for several in zip_longest(*of_kind.values()) for one in several if one is not None][: self.each]
        wanted.subtract(one.kind for one in dealt)
        chance = random.Random(scene.seed)
        return [_item(scene, one, chance, self.words, self.otherwise) for one in dealt]


def _item(scene: Scene, request: Request, chance: random.Random, words: Words, otherwise: float) -> Item:
    inside = {placed.name for placed in scene.objects}
    text = lessons.otherwise(request, chance, words, inside, otherwise).text
    truth = np.zeros(scene.image.shape[:2], dtype=np.bool_)
    for index in request.targets:
        truth |= scene.objects[index].mask
    return Item(scene, request, text, truth)
