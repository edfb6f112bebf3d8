"""What is evaluated: a request, and how to load its picture and the masks it means."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rsagent.errors import RSAgentError
from rsagent.segmenter.protocol import Mask

SMALL = 0.02
"""A target below this fraction of the picture is small."""


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A sample in memory.

    `image` uint8 [H, W, 3] RGB; `targets` bool [H, W] each, one for every meant object and none where nothing is
    meant (what came as one mask stays one); `ignore` bool [H, W]: pixels that count neither for nor against.
    """

    image: NDArray[np.uint8] = field(repr=False)
    targets: tuple[Mask, ...] = field(repr=False)
    ignore: Mask | None = field(default=None, repr=False)

    @property
    def truth(self) -> Mask:
        """bool [H, W]: all meant objects together; empty where there is none."""
        truth = np.zeros(self.image.shape[:2], dtype=np.bool_)
        for target in self.targets:
            truth |= target
        return truth


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One request. `id` is unique within its list and the same in every run; figures are given for all samples, by
    `kind` and by tag. `aside`: it is left out of "all", and is a row of its own only.

    `load` reads or makes the picture and its masks anew each time, so that a list of many thousands costs no memory.
    It takes the CPU: call it in a worker. It raises RSAgentError where the picture or its masks cannot be had.
    """

    id: str
    query: str
    kind: str
    load: Callable[[], Loaded] = field(repr=False)
    tags: tuple[str, ...] = ()
    aside: bool = False

    @classmethod
    def of(
        cls,
        id: str,
        image: NDArray[np.uint8],
        query: str,
        kind: str,
        *targets: Mask,
        ignore: Mask | None = None,
        tags: tuple[str, ...] = (),
    ) -> Sample:
        """A sample that is in memory already; without `targets` nothing is meant."""
        loaded = Loaded(image, targets, ignore)
        return cls(id, query, kind, lambda: loaded, tags)


def subset(samples: Sequence[Sample], kinds: Collection[str] = (), limit: int | None = None) -> list[Sample]:
    """Those of `kinds` (all kinds if none is named), and `limit` of them, spread evenly over the list: many data sets
    are sorted. Raises RSAgentError, naming the kinds there are, for one that is not there."""
    known = sorted({sample.kind for sample in samples})
    unknown = [kind for kind in kinds if kind not in known]
    if unknown:
        raise RSAgentError(f"no sample is of the kind {unknown[0]!r}: there are {', '.join(known)}")
    chosen = [sample for sample in samples if not kinds or sample.kind in kinds]
    if limit is None or limit >= len(chosen):
        return chosen
    return [chosen[index * len(chosen) // limit] for index in range(limit)]
