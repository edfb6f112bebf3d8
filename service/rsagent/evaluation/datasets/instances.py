"""COCO's instances: pictures, annotations and categories of one JSON file, as COCO and the RefCOCO family use it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from rsagent.errors import BadRequest
from rsagent.evaluation.datasets.files import DatasetError, parse, picture, read_json, within
from rsagent.evaluation.samples import Loaded
from rsagent.masks import rle
from rsagent.segmenter.protocol import Mask


class Picture(BaseModel):
    """A picture: where it is, and its size in pixels."""

    model_config = ConfigDict(frozen=True)

    id: int
    file_name: str
    width: int = Field(ge=1, le=1 << 16)
    height: int = Field(ge=1, le=1 << 16)


class Runs(BaseModel):
    """COCO's run lengths, compressed (text) or not (numbers); `size` is [height, width]."""

    model_config = ConfigDict(frozen=True)

    size: tuple[int, int]
    counts: str | list[int]


class Annotation(BaseModel):
    """An instance. `segmentation` is polygons [x, y, x, y, …] or runs; `texts` are sentences of its own, if any."""

    model_config = ConfigDict(frozen=True)

    id: int
    image_id: int
    category_id: int
    segmentation: list[list[float]] | Runs
    iscrowd: bool = False
    text: str | list[str] | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """Its own sentences; none for an annotation of COCO's."""
        return (self.text,) if isinstance(self.text, str) else tuple(self.text or ())


class Category(BaseModel):
    """What an instance is; `supercategory` is the broader kind."""

    model_config = ConfigDict(frozen=True)

    id: int
    name: str
    supercategory: str | None = None


class _File(BaseModel):
    model_config = ConfigDict(frozen=True)

    images: list[Picture]
    annotations: list[Annotation]
    categories: list[Category] = []


_FILE = TypeAdapter(_File)


@dataclass(frozen=True, eq=False)
class Instances:
    """The file, indexed by id."""

    path: Path
    pictures: dict[int, Picture] = field(repr=False)
    annotations: dict[int, Annotation] = field(repr=False)
    categories: dict[int, Category] = field(repr=False)

    def picture(self, id: int) -> Picture:
        """Raises DatasetError for a picture that is not there."""
        found = self.pictures.get(id)
        if found is None:
            raise DatasetError(f"{self.path} knows no picture {id}: do the files belong together?")
        return found

    def annotation(self, id: int) -> Annotation:
        """Raises DatasetError for an annotation that is not there."""
        found = self.annotations.get(id)
        if found is None:
            raise DatasetError(f"{self.path} knows no annotation {id}: do the files belong together?")
        return found

    def kind(self, category_id: int) -> str:
        """The broader kind of a category, or its name."""
        category = self.categories.get(category_id)
        return "object" if category is None else category.supercategory or category.name

    def load(
        self, shown: Picture, folder: Path, targets: Iterable[Annotation], ignored: Iterable[Annotation] = ()
    ) -> Loaded:
        """The picture, a mask for each target, and one of all that is ignored. Raises DatasetError."""
        image = picture(within(folder, shown.file_name))
        if image.shape[:2] != (shown.height, shown.width):
            raise DatasetError(
                f"{folder / shown.file_name} is {image.shape[1]} × {image.shape[0]} pixels, its annotation says "
                f"{shown.width} × {shown.height}: take the original pictures"
            )
        masks = tuple(self._mask(one, shown) for one in targets)
        left_out = [self._mask(one, shown) for one in ignored]
        return Loaded(image, masks, np.any(left_out, axis=0) if left_out else None)

    def _mask(self, annotation: Annotation, shown: Picture) -> Mask:
        try:
            return mask_of(annotation.segmentation, shown.height, shown.width)
        except ValueError as error:
            raise DatasetError(f"{self.path}: annotation {annotation.id}: {error}") from error


def read_instances(path: Path) -> Instances:
    """A file of COCO's instances. Raises DatasetError."""
    fields: Any = read_json(path, "COCO's instances: pictures, annotations and categories")
    told = parse(_FILE, fields, path)
    return Instances(
        path,
        {one.id: one for one in told.images},
        {one.id: one for one in told.annotations},
        {one.id: one for one in told.categories},
    )


def mask_of(segmentation: list[list[float]] | Runs, height: int, width: int) -> Mask:
    """bool [H, W], drawn as pycocotools draws it: the parts of an instance together.

    Polygons of fewer than three corners are none. Raises ValueError for runs that do not fill the picture.
    """
    if isinstance(segmentation, Runs):
        return _decoded(segmentation, height, width)
    polygons = [polygon for polygon in segmentation if len(polygon) >= 6 and len(polygon) % 2 == 0]
    if not polygons or not all(np.isfinite(polygon).all() for polygon in polygons):
        raise ValueError("it has no polygon of at least three corners")
    parts = (part["counts"].decode("ascii") for part in coco.frPyObjects(polygons, height, width))
    masks = [rle.decode(counts, height, width) for counts in parts]
    return np.asarray(np.logical_or.reduce(masks), dtype=np.bool_)


def _decoded(runs: Runs, height: int, width: int) -> Mask:
    if runs.size != (height, width):
        raise ValueError(f"its runs are of {runs.size[0]} × {runs.size[1]} pixels, not of {height} × {width}")
    if isinstance(runs.counts, str):
        try:
            return rle.decode(runs.counts, height, width)
        except BadRequest as error:
            raise ValueError(str(error)) from error
    if min(runs.counts, default=0) < 0 or sum(runs.counts) != height * width:
        raise ValueError(f"its runs do not fill {height} × {width} pixels")
    values = np.arange(len(runs.counts)) % 2 == 1
    return np.repeat(values, runs.counts).reshape((width, height)).T.copy()
