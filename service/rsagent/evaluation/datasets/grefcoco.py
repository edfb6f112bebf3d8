"""gRefCOCO (GRES, arXiv 2306.00968): expressions that may mean several objects of a picture, or none.

    grefcoco/grefs(unc).json   (or .p)      expressions, the annotations they mean, and the split
    grefcoco/instances.json                 COCO's annotations
    images/…/train2014/                     COCO's pictures

`ann_id` is a list; [-1] means that nothing is meant. Annotations of crowds are left out, as by the authors. Splits are
train, val, testA and testB. Their scores treat nothing-meant as ours do: said so, IoU 1, anything else 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, TypeAdapter

from rsagent.evaluation.datasets import pickles
from rsagent.evaluation.datasets.files import first_there, parse, read_json, require, within
from rsagent.evaluation.datasets.instances import Annotation, Instances, read_instances
from rsagent.evaluation.datasets.refcoco import Told, data_folder, of_split, picture_folder
from rsagent.evaluation.samples import Sample

NAME = "grefcoco"
NOTHING = -1
KINDS = ("no target", "one", "several")


def _listed(ids: object) -> object:
    return [ids] if isinstance(ids, int) else ids


class GeneralReference(Told):
    """What some sentences mean: any number of annotations."""

    ann_id: Annotated[list[int], BeforeValidator(_listed)]


_REFERENCES = TypeAdapter(list[GeneralReference])


def grefcoco(root: Path, split: str = "val", images: Path | None = None) -> list[Sample]:
    """The samples of a split, a sentence each, in the order of the file; kinds are `KINDS`.

    `root` holds the folder grefcoco (or is it), `images` says where COCO's pictures are. Raises DatasetError.
    """
    folder = data_folder(root, NAME)
    path = first_there([folder / "grefs(unc).json", folder / "grefs(unc).p"], "the expressions of gRefCOCO")
    what = "the expressions of gRefCOCO"
    fields = pickles.read(path, what) if path.suffix == ".p" else read_json(path, what)
    references = parse(_REFERENCES, fields, path)
    chosen = of_split(references, split, path)
    instances = read_instances(first_there([folder / "instances.json"], "the annotations of gRefCOCO"))
    return _samples(chosen, instances, picture_folder(root, images))


def _samples(references: Sequence[GeneralReference], instances: Instances, folder: Path) -> list[Sample]:
    found = []
    for one in references:
        shown, targets = instances.picture(one.image_id), _targets(one, instances)
        kind, loading = KINDS[min(2, len(targets))], partial(instances.load, shown, folder, targets)
        found += [Sample(f"{one.ref_id}-{s.sent_id}", s.sent, kind, loading) for s in one.sentences]
    pictures = (within(folder, instances.picture(one.image_id).file_name) for one in references)
    require(pictures, f"{folder} must hold COCO's train2014 pictures")
    return found


def _targets(reference: GeneralReference, instances: Instances) -> tuple[Annotation, ...]:
    meant = [instances.annotation(id) for id in reference.ann_id if id != NOTHING]
    return tuple(one for one in meant if not one.iscrowd)
