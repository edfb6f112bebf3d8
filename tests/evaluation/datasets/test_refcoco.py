from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.datasets.making import (
    HEIGHT,
    WIDTH,
    annotation,
    box,
    instances,
    photograph,
    photographs,
    pickled,
    reference,
    runs,
)

from rsagent.evaluation.datasets import DatasetError, refcoco

PICTURES = Path("images/mscoco/images/train2014")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    two = [box(4, 4, 10, 10), box(20, 4, 10, 10)]
    parts = [annotation(11, 1, 1, two), annotation(12, 2, 18, runs(0, 0, 5, 6))]
    for name in ("refcoco", "refcoco+", "refcocog"):
        instances(tmp_path / name / "instances.json", parts)
    unc = [
        reference(1, 11, "val", "the man in the middle", "guy, red shirt"),
        reference(2, 12, "testA", "left person", image_id=2),
        reference(3, 12, "train", "don't look here", image_id=2) | {"category_id": 18},
    ]
    pickled(tmp_path / "refcoco" / "refs(unc).p", unc)
    pickled(tmp_path / "refcoco" / "refs(google).p", unc[:1])
    pickled(tmp_path / "refcoco+" / "refs(unc).p", unc)
    pickled(tmp_path / "refcocog" / "refs(umd).p", [reference(5, 12, "test", "a dog that sits", image_id=2)])
    photographs(tmp_path / PICTURES)
    return tmp_path


def test_every_sentence_of_the_split_is_a_sample(root: Path) -> None:
    samples = refcoco(root, "refcoco", "val")
    assert [(one.id, one.query, one.kind) for one in samples] == [
        ("1-10", "the man in the middle", "person"),
        ("1-11", "guy, red shirt", "person"),
    ]


def test_masks_are_all_parts_of_the_instance(root: Path) -> None:
    loaded = refcoco(root, "refcoco", "val")[0].load()
    truth = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    truth[4:14, 4:14] = truth[4:14, 20:30] = True
    assert np.array_equal(loaded.truth, truth)
    assert len(loaded.targets) == 1
    (dog,) = refcoco(root, "refcoco", "testA")
    assert int(dog.load().truth.sum()) == 30


def test_each_data_set_and_whose_split(root: Path) -> None:
    assert [one.id for one in refcoco(root, "refcoco", "val", by="google")] == ["1-10", "1-11"]
    assert [one.id for one in refcoco(root, "refcoco+", "testA")] == ["2-20"]
    assert [one.query for one in refcoco(root, "refcocog", "test")] == ["a dog that sits"]
    assert [one.query for one in refcoco(root / "refcocog", "refcocog", "test")] == ["a dog that sits"]
    assert refcoco(root, "refcoco", "train")[0].kind == "animal"


def test_texts_of_python_2_are_read(root: Path) -> None:
    assert b"S'" in (root / "refcoco" / "refs(unc).p").read_bytes()
    assert refcoco(root, "refcoco", "train")[0].query == "don't look here"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("refcoco", "test"), r"no split 'test': choose one of testA, train, val"),
        (
            ("refcoco", "val", "umd"),
            r"as split by umd \(--by unc or google\) is not there; looked for .*refs\(umd\)\.p",
        ),
        (("refclef", "val"), "choose refcoco, refcoco\\+, refcocog"),
    ],
)
def test_what_there_is_is_named(root: Path, arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        refcoco(root, *arguments)  # type: ignore[arg-type]


def test_missing_files_are_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no folder"):
        refcoco(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="--images is the folder"):
        refcoco(root, images=root / "nowhere")
    (root / PICTURES / "COCO_train2014_000000000001.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 of 1 files are missing .*must hold COCO's train2014"):
        refcoco(root)
    (root / "refcoco" / "instances.json").unlink()
    with pytest.raises(DatasetError, match="the annotations of refcoco is not there"):
        refcoco(root)


def test_without_pictures_the_places_are_named(root: Path) -> None:
    (root / "images").rename(root / "elsewhere")
    with pytest.raises(DatasetError, match=r"name it by --images\) is not there; looked for .*mscoco"):
        refcoco(root)
    assert len(refcoco(root, images=root / "elsewhere/mscoco/images/train2014")) == 2


def test_a_picture_of_another_size_is_told(root: Path) -> None:
    photograph(root / PICTURES / "COCO_train2014_000000000001.jpg", 50, 30)
    with pytest.raises(DatasetError, match="is 50 × 30 pixels, its annotation says 40 × 30"):
        refcoco(root)[0].load()


def test_files_that_do_not_belong_together_are_told(root: Path) -> None:
    instances(root / "refcoco" / "instances.json", [annotation(99, 1, 1, [box(0, 0, 3, 3)])])
    with pytest.raises(DatasetError, match="knows no annotation 11"):
        refcoco(root)


@pytest.mark.parametrize(
    "segmentation", [[], [[1.0, 2.0, 3.0, 4.0]], [[float("nan")] * 6], {"size": [3, 3], "counts": [9]}]
)
def test_a_broken_outline_is_told(root: Path, segmentation: object) -> None:
    instances(root / "refcoco" / "instances.json", [annotation(11, 1, 1, segmentation)])
    with pytest.raises(DatasetError, match="annotation"):
        refcoco(root)[0].load()


def test_a_file_name_does_not_lead_out_of_its_folder(root: Path) -> None:
    path = root / "refcoco" / "instances.json"
    path.write_text(path.read_text().replace("COCO_train2014_000000000001", "../../secret"))
    with pytest.raises(DatasetError, match="leads out of"):
        refcoco(root)
