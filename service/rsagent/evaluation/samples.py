"""What is evaluated: pictures, sentences, and the masks they mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import cycle, islice

import numpy as np
from numpy.typing import NDArray

from rsagent.segmenter.protocol import Mask
from rsagent.training.world import Recipe, Scene, World
from rsagent.training.world.phrasing import Voice
from rsagent.training.world.requests import KINDS, Kind, Request, requests
from rsagent.training.world.scene import Split

UNSEEN = "reasoning, unseen sentence"
SIZES = ((448, 448), (384, 512), (512, 384))
"""Height and width of the pictures, in turn: twice what the nano policy sees at once, so that a zoom shows more."""
SMALL = 0.02
"""A target below this fraction of the picture is small."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """`image` uint8 [H, W, 3] RGB; `truth` bool [H, W], all meant objects together, empty where none is there."""

    name: str
    image: NDArray[np.uint8] = field(repr=False)
    query: str
    kind: str
    truth: Mask = field(repr=False)

    @property
    def small(self) -> bool:
        """Whether there is a target and it covers less than `SMALL` of the picture."""
        return 0.0 < float(self.truth.mean()) < SMALL


def collages(
    count: int,
    wording: Voice = "heldout",
    split: Split = "test",
    seed: int = 0,
    side: tuple[float, float] = (0.12, 0.5),
) -> list[Sample]:
    """`count` held-out requests over collages, the kinds in equal shares, one request a picture.

    Backgrounds and arrangements are held out, and with `wording` "heldout" the phrasings, too; names and the facts
    behind reasoning requests are the world's. Every picture has its own scene of 2–6 objects whose longer side is
    `side` of the picture's shorter one.
    """
    world = World(split)
    scenes = _scenes(world, seed, side)
    kinds = islice(cycle(KINDS), count)
    return [_next_of(kind, world, scenes, "train" if kind == "reasoning" else wording) for kind in kinds]


def unseen(count: int, split: Split = "test", seed: int = 0, side: tuple[float, float] = (0.12, 0.5)) -> list[Sample]:
    """`count` reasoning requests whose sentences no training ever saw: what generalises beyond the table."""
    world = World(split)
    scenes = _scenes(world, seed + 1, side)
    return [replace(_next_of("reasoning", world, scenes, "heldout"), kind=UNSEEN) for _ in range(count)]


def _scenes(world: World, seed: int, side: tuple[float, float]) -> Iterator[Scene]:
    for index, size in enumerate(cycle(SIZES)):
        yield world.scene(seed * 1_000_000 + index, Recipe(size=size, count=(2, 6), side=side))


def _next_of(kind: Kind, world: World, scenes: Iterator[Scene], voice: Voice) -> Sample:
    """A request of that kind over the next scene that allows one."""
    for scene in scenes:
        asked = requests(scene, world, scene.seed, kinds=(kind,), each=1, voice=voice)
        if asked:
            return _sample(scene, asked[0])
    raise AssertionError("scenes never end")


def _sample(scene: Scene, request: Request) -> Sample:
    truth = np.zeros(scene.image.shape[:2], dtype=np.bool_)
    for index in request.targets:
        truth |= scene.objects[index].mask
    return Sample(f"collage-{scene.seed}", scene.image, request.text, request.kind, truth)
