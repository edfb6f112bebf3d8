"""Scenes of one's own: a COCO file or a folder in ReasonSeg's form, read by the evaluation's loaders."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from rsagent.evaluation.datasets.coco import coco
from rsagent.evaluation.datasets.reasonseg import reasonseg
from rsagent.evaluation.samples import Sample
from rsagent.geometry import Box
from rsagent.segmenter.protocol import Mask
from rsagent.training.synthesis.sources import SCENES, Occasion
from rsagent.training.world.phrasing import definite, framed, plural
from rsagent.training.world.requests import Kind, Request
from rsagent.training.world.scene import Placed, Scene

Form = Literal["coco", "reasonseg"]
PLAIN_WORDS = 4
TARGET = "target"
"""What a thought calls a thing that a whole sentence describes."""
LEAST_AREA = 25
KINDS: dict[str, Kind] = {"one": "name", "several": "several", "absent": "absent", "phrase": "name"}


@dataclass(frozen=True)
class OwnSource:
    """Pictures and masks of one's own. `absent`: for how many categories each picture is asked that are not in it."""

    form: Form
    path: Path
    images: Path | None = None
    split: str = "train"
    absent: int = 1
    each: int = 8

    @property
    def name(self) -> str:
        """What trajectories and pictures of it are called by."""
        return self.form

    def shard(self, number: int) -> Sequence[Occasion]:
        """See `Source`. Raises DatasetError where the files are not what they should be."""
        grouped = _grouped(self)
        span = list(grouped)[number * SCENES : (number + 1) * SCENES]
        return [_occasion(self, name, grouped[name][: self.each]) for name in span]


@cache
def _grouped(source: OwnSource) -> dict[str, list[Sample]]:
    """The samples by picture, in the order of the files."""
    if source.form == "coco":
        samples = coco(source.path, source.images, absent=source.absent)
    else:
        samples = reasonseg(source.path, source.split, texts="all")
    grouped: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        grouped[_picture_of(source.form, sample.id)].append(sample)
    return dict(grouped)


def _picture_of(form: Form, sample: str) -> str:
    """Which picture a sample's id is about, as the loaders spell it: COCO's number before all else, ReasonSeg's file
    name before the number of the sentence."""
    return sample.split("-", 1)[0] if form == "coco" else sample.rsplit("#", 1)[0]


def _occasion(source: OwnSource, name: str, samples: Sequence[Sample]) -> Occasion:
    """One picture with all that is asked about it; what one request means is what another may be taken for."""
    chance = random.Random(name)
    objects: dict[bytes, Placed] = {}
    asked: list[Request] = []
    image = np.zeros((1, 1, 3), np.uint8)
    for sample in samples:
        loaded = sample.load()
        image, called = loaded.image, plain_name(sample.query)
        masks = [mask for mask in loaded.targets if np.count_nonzero(mask) >= LEAST_AREA]
        if len(masks) < len(loaded.targets):
            continue
        for mask in masks:
            objects.setdefault(mask.tobytes(), Placed(called, -1, -1, mask, tight(mask)))
        order = list(objects)
        targets = tuple(sorted(order.index(mask.tobytes()) for mask in masks))
        kind = KINDS.get(sample.kind, "reasoning")
        asked.append(Request(sentence(source, sample, chance), kind, targets, called))
    return Occasion(name, Scene(image, tuple(objects.values()), 0), tuple(asked))


def plain_name(query: str) -> str:
    """What a thought calls the thing: the request itself where that is a short noun phrase, else `TARGET`."""
    words = query.strip(" .").removeprefix("the ").removeprefix("The ")
    return words if words and len(words.split()) <= PLAIN_WORDS and "?" not in words else TARGET


def sentence(source: OwnSource, sample: Sample, chance: random.Random) -> str:
    """A category as people ask for it; a sentence of the data's own as it stands."""
    if source.form != "coco" or "#" in sample.id:
        return sample.query
    np_ = f"all the {plural(sample.query)}" if sample.kind == "several" else definite(sample.query)
    return framed(np_, "train", chance)


def tight(mask: Mask) -> Box:
    """The box around a bool [H, W] mask that is not empty, end exclusive."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
