from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from pycocotools import mask as pycoco
from tests.evaluation.datasets.making import HEIGHT, WIDTH, annotation, box, instances, photographs, runs

from rsagent.evaluation.datasets import DatasetError, coco
from rsagent.evaluation.datasets.instances import Runs, mask_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    uncompressed = {"size": [HEIGHT, WIDTH], "counts": [0, 30, HEIGHT * WIDTH - 30]}
    annotations = [
        annotation(1, 1, 18, [box(2, 2, 5, 5)]),
        annotation(2, 1, 18, [box(20, 2, 6, 5)]),
        annotation(3, 1, 18, runs(0, 20, 40, 5), iscrowd=1),
        annotation(4, 2, 62, uncompressed),
        annotation(5, 2, 1, [box(20, 2, 6, 5)], text=["the sitter", "whoever sits"]),
        annotation(6, 2, 18, uncompressed, iscrowd=1),
    ]
    instances(tmp_path / "instances.json", annotations)
    photographs(tmp_path / "images")
    return tmp_path


def test_a_category_of_a_picture_is_a_sample(folder: Path) -> None:
    samples = coco(folder / "instances.json")
    assert [(one.id, one.query, one.kind) for one in samples] == [
        ("1-c18", "dog", "several"),
        ("2-5#0", "the sitter", "one"),
        ("2-5#1", "whoever sits", "one"),
        ("2-c62", "chair", "one"),
    ]
    dogs = samples[0].load()
    assert dogs.ignore is not None
    assert ([int(mask.sum()) for mask in dogs.targets], int(dogs.ignore.sum())) == ([25, 30], 200)
    chair = samples[3].load()
    assert chair.ignore is None
    assert bool(chair.truth[:, 0].all())
    assert [one.id for one in coco(folder)] == [one.id for one in samples]


def test_absent_categories_are_asked_for_on_demand(folder: Path) -> None:
    absent = [one for one in coco(folder, absent=2) if one.kind == "absent"]
    assert {one.query for one in absent if one.id.startswith("1-")} == {"person", "chair"}
    assert not [one for one in absent if one.id.startswith("2-")]
    assert [one.id for one in coco(folder, absent=1)] == [one.id for one in coco(folder, absent=1)]
    assert absent[0].load().targets == ()


def test_the_pictures_may_be_elsewhere(folder: Path) -> None:
    (folder / "images").rename(folder / "photos")
    with pytest.raises(DatasetError, match="name it by --images"):
        coco(folder)
    assert len(coco(folder, folder / "photos")) == 4


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is no JSON"),
        ("[]", "is it the right file"),
        ('{"images": [], "annotations": [{"id": 1}]}', "annotations.0"),
    ],
)
def test_a_broken_file_is_named(folder: Path, content: str, words: str) -> None:
    (folder / "instances.json").write_text(content)
    with pytest.raises(DatasetError, match=words):
        coco(folder)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"COCO's annotations is not there.*annotations\.json"):
        coco(tmp_path)
    with pytest.raises(DatasetError, match=r"x\.json"):
        coco(tmp_path / "x.json")


@pytest.mark.parametrize("counts", ["zz", [5, -5, WIDTH * HEIGHT], [3]])
def test_runs_that_do_not_fill_the_picture_are_told(folder: Path, counts: Any) -> None:
    broken = annotation(1, 1, 18, {"size": [HEIGHT, WIDTH], "counts": counts})
    instances(folder / "instances.json", [broken])
    with pytest.raises(DatasetError, match="annotation 1"):
        coco(folder)[0].load()


@given(arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_both_spellings_of_runs_are_the_same_mask(mask: NDArray[np.bool_]) -> None:
    height, width = mask.shape
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat]).astype(int)))
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    packed = pycoco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()
    for spelled in (counts, packed):
        assert np.array_equal(mask_of(Runs(size=(height, width), counts=spelled), height, width), mask)


def test_the_format_is_coco_as_json(folder: Path) -> None:
    assert {"images", "annotations", "categories"} <= json.loads((folder / "instances.json").read_text()).keys()
