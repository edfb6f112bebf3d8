"""ReasonSeg (LISA, arXiv 2308.00692): pictures with labelme polygons of what a sentence means.

    ReasonSeg/val/1234_5.jpg, 1234_5.json; likewise train/ and test/

A JSON holds `text` (a list of sentences), `is_sentence`, and `shapes`, each with a `label` and polygon `points` in
pixels of the picture. As the authors' `data_processing.py` does: polygons are drawn filled with their outline, larger
ones first; a label with "ignore" in it marks a region left out of the scores, "flag" shapes mean nothing. Evaluation
takes the first text of each picture. 239 train, 200 val, 779 test.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, get_args

import cv2
import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from rsagent.evaluation.datasets.files import DatasetError, folder_at, parse, picture, read_json, require
from rsagent.evaluation.samples import Loaded, Sample
from rsagent.segmenter.protocol import Mask

Ignore = Literal["exclude", "target", "background"]
Texts = Literal["first", "all"]
IGNORES: tuple[Ignore, ...] = get_args(Ignore)
TEXTS: tuple[Texts, ...] = get_args(Texts)


def _listed(text: object) -> object:
    return [text] if isinstance(text, str) else text


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)

    label: str
    points: list[tuple[float, float]]


class _Annotation(BaseModel):
    model_config = ConfigDict(frozen=True)

    text: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
    is_sentence: bool
    shapes: list[_Shape]


_ANNOTATION = TypeAdapter(_Annotation)


def reasonseg(folder: Path, split: str = "val", *, ignore: Ignore = "exclude", texts: Texts = "first") -> list[Sample]:
    """The samples of a split, by file name. `folder` holds the splits, or is the split itself.

    Kinds are "sentence" and "phrase" (`is_sentence`). `ignore` says what ignored regions are: left out of the scores
    (the authors'), "target" or "background" (others' converters). With `texts` "all" every text is a sample, not only
    the first. Raises DatasetError.
    """
    inner = folder / split
    chosen = inner if inner.is_dir() else folder_at(folder, "name ReasonSeg, which holds train/, val/, test/")
    files = sorted(chosen.glob("*.json"))
    if not files:
        there = ", ".join(sorted(path.name for path in chosen.iterdir() if path.is_dir())) or "none"
        raise DatasetError(f"{chosen} holds no annotations (*.json): choose a split by --split; folders here: {there}")
    require((path.with_suffix(".jpg") for path in files), "each JSON needs its JPEG beside it: unpack all of ReasonSeg")
    return [sample for path in files for sample in _samples(path, ignore, texts)]


def _samples(path: Path, ignore: Ignore, texts: Texts) -> Iterator[Sample]:
    annotation = parse(_ANNOTATION, read_json(path, "an annotation of ReasonSeg"), path)
    kind = "sentence" if annotation.is_sentence else "phrase"

    def load() -> Loaded:
        return _load(path.with_suffix(".jpg"), annotation, ignore)

    for index, text in enumerate(annotation.text if texts == "all" else annotation.text[:1]):
        yield Sample(f"{path.stem}#{index}" if texts == "all" else path.stem, text.strip(), kind, load)


def _load(path: Path, annotation: _Annotation, ignore: Ignore) -> Loaded:
    image = picture(path)
    labels = _labels(annotation, *image.shape[:2])
    target, ignored = labels == TARGET, labels == IGNORED
    if ignore == "target":
        target |= ignored
    return Loaded(image, (target,) if target.any() else (), ignored if ignore == "exclude" and ignored.any() else None)


TARGET, IGNORED = 1, 255


def _labels(annotation: _Annotation, height: int, width: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """uint8 [H, W]: what each pixel is. Vertices are cut to whole pixels, as the authors do."""
    drawn = [(_draw(shape, height, width), shape) for shape in annotation.shapes if shape.label.lower() != "flag"]
    labels = np.zeros((height, width), dtype=np.uint8)
    # The authors sort by numpy's default order, reversed: of two shapes of one area, the later in the file goes first.
    order = np.argsort([int(mask.sum()) for mask, _ in drawn])[::-1]
    for index in order:
        mask, shape = drawn[index]
        labels[mask] = IGNORED if "ignore" in shape.label.lower() else TARGET
    return labels


def _draw(shape: _Shape, height: int, width: int) -> Mask:
    canvas = np.zeros((height, width), dtype=np.uint8)
    if shape.points:
        outline = np.array(shape.points, dtype=np.float64).astype(np.int32)
        cv2.polylines(canvas, [outline], True, 1, 1)
        cv2.fillPoly(canvas, [outline], 1)
    return np.asarray(canvas, dtype=np.bool_)
