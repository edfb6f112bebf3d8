"""Our own world: held-out collages, with exact masks by construction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import cycle, islice
from typing import get_args

from rsagent.evaluation.datasets.files import DatasetError
from rsagent.evaluation.samples import Loaded, Sample
from rsagent.training.world import Recipe, Scene, World
from rsagent.training.world.combinations import Combinations
from rsagent.training.world.phrasing import Voice
from rsagent.training.world.requests import ALL_KINDS, Kind, Request, requests
from rsagent.training.world.scene import Split
from rsagent.training.world.situations import SITUATIONS, Situation, recipe, shows

KINDS: tuple[Kind, ...] = ("name", "attribute", "relation", "reasoning", "several", "absent")
"""The kinds of the published figures, in turn: fixed here, so that a world that grows leaves their requests alone."""
FACTUAL: tuple[Kind, ...] = ("reasoning", "knowledge", "shared")
"""Kinds that rest on a fact: `collages` takes the facts of training, `unseen` the held-out ones."""
SIZES = ((448, 448), (384, 512), (512, 384))
"""Height and width of the pictures, in turn: twice what the nano policy sees at once, so that a zoom shows more."""
TRIED = 8
"""Requests of a scene among which one is sought that is about its situation."""
__all__ = ["FACTUAL", "KINDS", "PAIRS", "SITUATIONS", "SPLITS", "VOICES", "collages", "unseen"]

VOICES: tuple[Voice, ...] = get_args(Voice)
SPLITS: tuple[Split, ...] = get_args(Split)
PAIRS: tuple[Combinations, ...] = get_args(Combinations)

_world = cache(World)


def collages(
    count: int = 300,
    wording: Voice = "heldout",
    split: Split = "test",
    seed: int = 0,
    kinds: Sequence[str] = KINDS,
    situation: Situation = "plain",
    pairs: Combinations = "any",
) -> list[Sample]:
    """`count` held-out requests over collages, the kinds in equal shares, one request a picture.

    Backgrounds and arrangements are held out, and with `wording` "heldout" the phrasings, too; names and the facts
    behind reasoning requests are the world's. Every picture has its own scene, made for a `situation` (targets that
    need a zoom, that touch, …; the target shows it), of names that may meet as `pairs` says. `kinds` are of
    `ALL_KINDS`. The same arguments give the same samples.
    Raises MaterialMissing, and DatasetError for a kind that the world does not know.
    """
    unknown = [kind for kind in kinds if kind not in ALL_KINDS]
    if unknown:
        raise DatasetError(f"the world has no requests of the kind {unknown[0]!r}: choose of {', '.join(ALL_KINDS)}")
    world = _world(split)
    scenes = _scenes(world, seed, situation, pairs)
    asked = islice(cycle(kind for kind in ALL_KINDS if kind in kinds), count)
    return [_next_of(kind, world, scenes, "train" if kind in FACTUAL else wording, situation) for kind in asked]


def unseen(count: int, split: Split = "test", seed: int = 0, kind: Kind = "reasoning") -> list[Sample]:
    """`count` requests whose sentences no training ever saw: what generalises beyond the table of facts. `kind` is one
    of `FACTUAL`. They stand aside: "all" is without them."""
    world = _world(split)
    scenes = _scenes(world, seed + 1 + FACTUAL.index(kind))
    found = (_next_of(kind, world, scenes, "heldout") for _ in range(count))
    return [Sample(one.id, one.query, f"{kind}, unseen sentence", one.load, aside=True) for one in found]


def _scenes(
    world: World, seed: int, situation: Situation = "plain", pairs: Combinations = "any"
) -> Iterator[tuple[Scene, Recipe]]:
    for index, size in enumerate(cycle(SIZES)):
        made = recipe(situation, size, pairs)
        yield world.scene(seed * 1_000_000 + index, made), made


def _next_of(
    kind: Kind, world: World, scenes: Iterator[tuple[Scene, Recipe]], voice: Voice, situation: Situation = "plain"
) -> Sample:
    """A request of that kind over the next scene that allows one, about what the situation was made for."""
    each = 1 if situation == "plain" else TRIED
    for scene, made in scenes:
        asked = requests(scene, world, scene.seed, kinds=(kind,), each=each, voice=voice)
        fitting = (one for one in asked if not one.targets or shows(situation, scene, one))
        chosen = next(fitting, None)
        if chosen is not None:
            return _sample(world, scene.seed, made, chosen)
    raise AssertionError("scenes never end")


def _sample(world: World, seed: int, made: Recipe, request: Request) -> Sample:
    def load() -> Loaded:
        scene = world.scene(seed, made)
        return Loaded(scene.image, tuple(scene.objects[index].mask for index in request.targets))

    return Sample(f"collage-{seed}", request.text, request.kind, load)
