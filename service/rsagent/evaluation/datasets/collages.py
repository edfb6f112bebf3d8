"""Our own world: held-out collages, with exact masks by construction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import cycle, islice
from typing import get_args

from rsagent.evaluation.datasets.files import DatasetError
from rsagent.evaluation.samples import Loaded, Sample
from rsagent.training.world import Recipe, Scene, World
from rsagent.training.world.phrasing import Voice
from rsagent.training.world.requests import ALL_KINDS, Kind, Request, requests
from rsagent.training.world.scene import Split

KINDS: tuple[Kind, ...] = ("name", "attribute", "relation", "reasoning", "several", "absent")
"""The kinds of the published figures, in turn: fixed here, so that a world that grows leaves their requests alone."""
FACTUAL: tuple[Kind, ...] = ("reasoning", "knowledge", "shared")
"""Kinds that rest on a fact: `collages` takes the facts of training, `unseen` the held-out ones."""
SIZES = ((448, 448), (384, 512), (512, 384))
"""Height and width of the pictures, in turn: twice what the nano policy sees at once, so that a zoom shows more."""
SIDE = (0.12, 0.5)
VOICES: tuple[Voice, ...] = get_args(Voice)
SPLITS: tuple[Split, ...] = get_args(Split)

_world = cache(World)


def collages(
    count: int = 300,
    wording: Voice = "heldout",
    split: Split = "test",
    seed: int = 0,
    side: tuple[float, float] = SIDE,
    kinds: Sequence[str] = KINDS,
) -> list[Sample]:
    """`count` held-out requests over collages, the kinds in equal shares, one request a picture.

    Backgrounds and arrangements are held out, and with `wording` "heldout" the phrasings, too; names and the facts
    behind reasoning requests are the world's. Every picture has its own scene of 2–6 objects whose longer side is
    `side` of the picture's shorter one. `kinds` are of `ALL_KINDS`. The same arguments give the same samples.
    Raises MaterialMissing, and DatasetError for a kind that the world does not know.
    """
    unknown = [kind for kind in kinds if kind not in ALL_KINDS]
    if unknown:
        raise DatasetError(f"the world has no requests of the kind {unknown[0]!r}: choose of {', '.join(ALL_KINDS)}")
    world = _world(split)
    scenes = _scenes(world, seed, side)
    asked = islice(cycle(kind for kind in ALL_KINDS if kind in kinds), count)
    return [_next_of(kind, world, scenes, "train" if kind in FACTUAL else wording) for kind in asked]


def unseen(
    count: int,
    split: Split = "test",
    seed: int = 0,
    side: tuple[float, float] = SIDE,
    kind: Kind = "reasoning",
) -> list[Sample]:
    """`count` requests whose sentences no training ever saw: what generalises beyond the table of facts. `kind` is one
    of `FACTUAL`. They stand aside: "all" is without them."""
    world = _world(split)
    scenes = _scenes(world, seed + 1 + FACTUAL.index(kind), side)
    found = (_next_of(kind, world, scenes, "heldout") for _ in range(count))
    return [Sample(one.id, one.query, f"{kind}, unseen sentence", one.load, aside=True) for one in found]


def _scenes(world: World, seed: int, side: tuple[float, float]) -> Iterator[tuple[Scene, Recipe]]:
    for index, size in enumerate(cycle(SIZES)):
        recipe = Recipe(size=size, count=(2, 6), side=side)
        yield world.scene(seed * 1_000_000 + index, recipe), recipe


def _next_of(kind: Kind, world: World, scenes: Iterator[tuple[Scene, Recipe]], voice: Voice) -> Sample:
    """A request of that kind over the next scene that allows one."""
    for scene, recipe in scenes:
        asked = requests(scene, world, scene.seed, kinds=(kind,), each=1, voice=voice)
        if asked:
            return _sample(world, scene.seed, recipe, asked[0])
    raise AssertionError("scenes never end")


def _sample(world: World, seed: int, recipe: Recipe, request: Request) -> Sample:
    def load() -> Loaded:
        scene = world.scene(seed, recipe)
        return Loaded(scene.image, tuple(scene.objects[index].mask for index in request.targets))

    return Sample(f"collage-{seed}", request.text, request.kind, load)
