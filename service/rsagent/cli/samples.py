"""Which samples `rsagent eval` asks about: the command line's words for the data sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, cast

from rsagent.errors import BadQuery
from rsagent.evaluation.datasets import coco, collages, grefcoco, reasonseg, refcoco, unseen
from rsagent.evaluation.datasets.collages import FACTUAL, KINDS, PAIRS, SITUATIONS, SPLITS, VOICES
from rsagent.evaluation.datasets.reasonseg import IGNORES, TEXTS
from rsagent.evaluation.datasets.refcoco import Name
from rsagent.evaluation.samples import Sample, subset
from rsagent.training.world.requests import ALL_KINDS

T = TypeVar("T", bound=str)


@dataclass(frozen=True, slots=True)
class Made:
    """Which collages are made."""

    count: int = 300
    wording: str = "heldout"
    scenes: str = "plain"
    pairs: str = "any"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """A data set and what of it. What is None is the data set's own default."""

    dataset: str
    path: Path | None = None
    split: str | None = None
    by: str | None = None
    images: Path | None = None
    ignore: str = "exclude"
    texts: str = "first"
    absent: int = 0
    kinds: tuple[str, ...] = ()
    limit: int | None = None
    made: Made = field(default_factory=Made)

    @property
    def place(self) -> Path:
        """The path. Raises BadQuery where a data set on disk was named without it."""
        if self.path is None:
            raise BadQuery(f"where is {self.dataset}? Name its folder: `rsagent eval {self.dataset} FOLDER`")
        return self.path

    def as_config(self) -> dict[str, Any]:
        """What chose the samples, as plain values."""
        values = {name: value for name, value in asdict(self).items() if name != "made"}
        values |= asdict(self.made) if self.dataset == "collages" else {}
        told = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
        return {name: value for name, value in told.items() if value not in (None, (), [])}


def load(choice: Choice) -> list[Sample]:
    """The samples. Raises BadQuery for a choice that is none or that says nothing about the data set, DatasetError for
    files that are missing or broken."""
    _check(choice)
    if choice.dataset == "collages":  # whose kinds are made, not picked
        return subset(_collages(choice), limit=choice.limit)
    return subset(LOADERS[choice.dataset](choice), choice.kinds, choice.limit)


def _collages(choice: Choice) -> list[Sample]:
    """Held-out collages, and beside them requests whose facts no training saw."""
    split = _among("--split", choice.split or "test", SPLITS)
    kinds = (ALL_KINDS if choice.kinds == ("all",) else choice.kinds) or KINDS
    samples = collages(
        choice.made.count,
        _among("--wording", choice.made.wording, VOICES),
        split,
        choice.made.seed,
        kinds=kinds,
        situation=_among("--scenes", choice.made.scenes, SITUATIONS),
        pairs=_among("--pairs", choice.made.pairs, PAIRS),
    )
    for kind in FACTUAL:
        if kind in kinds:
            samples += unseen(choice.made.count // len(kinds), split, choice.made.seed, kind)
    return samples


def _refcoco(choice: Choice) -> list[Sample]:
    return refcoco(choice.place, cast(Name, choice.dataset), choice.split or "val", choice.by, choice.images)


LOADERS: dict[str, Callable[[Choice], list[Sample]]] = {
    "collages": _collages,
    "reasonseg": lambda one: reasonseg(
        one.place,
        one.split or "val",
        ignore=_among("--ignore", one.ignore, IGNORES),
        texts=_among("--texts", one.texts, TEXTS),
    ),
    "refcoco": _refcoco,
    "refcoco+": _refcoco,
    "refcocog": _refcoco,
    "grefcoco": lambda one: grefcoco(one.place, one.split or "val", one.images),
    "coco": lambda one: coco(one.place, one.images, absent=one.absent),
}


EVERY = frozenset({"dataset", "kinds", "limit"})
TAKES: dict[str, frozenset[str]] = {
    "collages": frozenset({"split", *(one.name for one in fields(Made))}),
    "reasonseg": frozenset({"path", "split", "ignore", "texts"}),
    **dict.fromkeys(("refcoco", "refcoco+", "refcocog"), frozenset({"path", "split", "by", "images"})),
    "grefcoco": frozenset({"path", "split", "images"}),
    "coco": frozenset({"path", "images", "absent"}),
}
"""What of a choice each data set goes by."""


def _check(choice: Choice) -> None:
    """Raise BadQuery for a data set that is none, and where something was chosen that it knows nothing of: who gave it
    means something."""
    takes = EVERY | TAKES[_among("the data set", choice.dataset, tuple(TAKES))]
    given = [*_given(choice, Choice(choice.dataset, made=choice.made)), *_given(choice.made, Made())]
    if strange := [name for name in given if name not in takes]:
        named = ", ".join("the folder" if name == "path" else f"--{name}" for name in strange)
        raise BadQuery(f"{named}: says nothing about {choice.dataset}; leave it out")


def _given(chosen: Choice | Made, usual: Choice | Made) -> list[str]:
    return [one.name for one in fields(chosen) if getattr(chosen, one.name) != getattr(usual, one.name)]


def _among(name: str, value: str, known: tuple[T, ...]) -> T:
    """The known one that `value` names. Raises BadQuery."""
    for one in known:
        if one == value:
            return one
    raise BadQuery(f"{name} is one of {', '.join(known)}, not {value!r}")
