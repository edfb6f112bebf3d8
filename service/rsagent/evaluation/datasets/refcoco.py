"""RefCOCO, RefCOCO+ and RefCOCOg: expressions that tell one object of a COCO picture from the others.

    refcoco/refs(unc).p, refs(google).p     which expression means which annotation, and the split of it
    refcoco/instances.json                  COCO's annotations
    images/…/train2014/                     COCO's pictures

RefCOCO and RefCOCO+ are split by "unc" (train, val, testA: people, testB: other things), RefCOCOg by "umd" (train, val,
test) or "google" (train, val). A reference has several sentences, and each is a sample. The refs are Python 2 pickles
of plain data; they are read without running anything that is in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter

from rsagent.evaluation.datasets import pickles
from rsagent.evaluation.datasets.files import DatasetError, first_there, folder_at, parse, require, within
from rsagent.evaluation.datasets.instances import Instances, read_instances
from rsagent.evaluation.samples import Sample

Name = Literal["refcoco", "refcoco+", "refcocog"]
BY: dict[str, tuple[str, ...]] = {"refcoco": ("unc", "google"), "refcoco+": ("unc",), "refcocog": ("umd", "google")}
"""Who split a data set; the usual one first."""
IMAGES = ("images/mscoco/images/train2014", "images/train2014", "train2014", "images", "coco/train2014")
"""Where COCO's pictures are looked for, below the root."""

R = TypeVar("R", bound="Told")


class Sentence(BaseModel):
    """An expression, tidied by the authors (`sent`)."""

    model_config = ConfigDict(frozen=True)

    sent_id: int
    sent: str


class Told(BaseModel):
    """Some sentences about a picture, and the split they are in."""

    model_config = ConfigDict(frozen=True)

    ref_id: int
    image_id: int
    split: str
    sentences: list[Sentence]


class Reference(Told):
    """What some sentences mean: one annotation."""

    ann_id: int
    category_id: int


_REFERENCES = TypeAdapter(list[Reference])


def refcoco(
    root: Path, name: Name = "refcoco", split: str = "val", by: str | None = None, images: Path | None = None
) -> list[Sample]:
    """The samples of a split, a sentence each, in the order of the refs; kinds are COCO's supercategories.

    `root` holds the folder `name` (or is it); `by` says whose split it is (`BY`; the usual one by default), `images`
    where COCO's pictures are. Raises DatasetError.
    """
    if name not in BY:
        raise DatasetError(f"there is no {name!r}: choose {', '.join(BY)}")
    folder = data_folder(root, name)
    whose = by or BY[name][0]
    wanted = f"the refs of {name} as split by {whose} (--by {' or '.join(BY[name])})"
    path = first_there([folder / f"refs({whose}).p"], wanted)
    references = parse(_REFERENCES, pickles.read(path, f"the refs of {name}"), path)
    chosen = of_split(references, split, path)
    instances = read_instances(first_there([folder / "instances.json"], f"the annotations of {name}"))
    return _samples(chosen, instances, picture_folder(root, images))


def data_folder(root: Path, name: str) -> Path:
    """`root/name`, or `root` where that is it. Raises DatasetError."""
    inside = root / name
    if inside.is_dir():
        return inside
    return folder_at(root, f"name the folder that holds {name}/ and the pictures")


def picture_folder(root: Path, images: Path | None) -> Path:
    """Where COCO's train2014 pictures are. Raises DatasetError, naming where they were looked for."""
    if images is not None:
        return folder_at(images, "--images is the folder of COCO's train2014 pictures")
    places = [base / place for base in (root, root.parent) for place in IMAGES]
    return first_there(places, "the folder of COCO's train2014 pictures (name it by --images)")


def of_split(references: Sequence[R], split: str, path: Path) -> list[R]:
    """The references of a split. Raises DatasetError, naming the splits there are."""
    chosen = [one for one in references if one.split == split]
    if not chosen:
        there = ", ".join(sorted({one.split for one in references}))
        raise DatasetError(f"{path} has no split {split!r}: choose one of {there}")
    return chosen


def _samples(references: Sequence[Reference], instances: Instances, folder: Path) -> list[Sample]:
    found = []
    for one in references:
        shown, target = instances.picture(one.image_id), instances.annotation(one.ann_id)
        kind, loading = instances.kind(one.category_id), partial(instances.load, shown, folder, (target,))
        found += [Sample(f"{one.ref_id}-{s.sent_id}", s.sent, kind, loading) for s in one.sentences]
    pictures = (within(folder, instances.picture(one.image_id).file_name) for one in references)
    require(pictures, f"{folder} must hold COCO's train2014 pictures")
    return found
