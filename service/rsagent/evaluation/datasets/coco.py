"""Any data set in COCO's instance format: a user's own, or COCO itself.

    annotations.json with images, annotations, categories
    images/ beside it, or the folder named by --images

A picture's instances of one category are one sample, asked for by the category's name. An annotation that has a
sentence of its own (`text`, one or a list) is asked for by that instead. Crowd regions (`iscrowd`) of the category are
left out of the scores.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from rsagent.evaluation.datasets.files import first_there, folder_at, require, within
from rsagent.evaluation.datasets.instances import Annotation, Instances, Picture, read_instances
from rsagent.evaluation.samples import Sample

KINDS = ("one", "several", "absent")


def coco(path: Path, images: Path | None = None, *, absent: int = 0) -> list[Sample]:
    """The samples of a file, by picture, in the order of the file; kinds are `KINDS`.

    With `absent`, every picture is also asked for so many categories that it holds no instance of (always the same
    ones): right only where every instance of every category is annotated, as in COCO. Raises DatasetError.
    """
    named = [path / name for name in ("instances.json", "annotations.json")] if path.is_dir() else [path]
    file = first_there(named, "COCO's annotations")
    instances = read_instances(file)
    folder = folder_at(images, "--images is the folder of the pictures") if images else _pictures(file)
    of_picture: dict[int, list[Annotation]] = defaultdict(list)
    for one in instances.annotations.values():
        of_picture[one.image_id].append(one)
    asked = [(shown, of_picture[shown.id]) for shown in instances.pictures.values()]
    found = [sample for shown, there in asked for sample in _samples(instances, shown, there, folder, absent)]
    pictures = (within(folder, shown.file_name) for shown, _ in asked)
    require(pictures, f"{folder} must hold the pictures (or name another by --images)")
    return found


def _pictures(file: Path) -> Path:
    beside = [file.parent / "images", file.parent / file.stem, file.parent.parent / "images"]
    return first_there(beside, "the folder of the pictures (name it by --images)")


def _samples(
    instances: Instances, shown: Picture, there: Sequence[Annotation], folder: Path, absent: int
) -> Iterator[Sample]:
    by_category: dict[int, list[Annotation]] = defaultdict(list)
    for one in there:
        for number, text in enumerate(one.texts):
            yield Sample(f"{shown.id}-{one.id}#{number}", text, "one", partial(instances.load, shown, folder, (one,)))
        if not one.texts:
            by_category[one.category_id].append(one)
    for id, category in instances.categories.items():
        targets = tuple(one for one in by_category[id] if not one.iscrowd)
        crowds = tuple(one for one in by_category[id] if one.iscrowd)
        if targets:
            load = partial(instances.load, shown, folder, targets, crowds)
            yield Sample(f"{shown.id}-c{id}", category.name, "one" if len(targets) == 1 else "several", load)
    held = {one.category_id for one in there}
    missing = [id for id in instances.categories if id not in held]
    for id in random.Random(shown.id).sample(missing, min(absent, len(missing))):  # noqa: S311  no secret
        load = partial(instances.load, shown, folder, ())
        yield Sample(f"{shown.id}-a{id}", instances.categories[id].name, "absent", load)
