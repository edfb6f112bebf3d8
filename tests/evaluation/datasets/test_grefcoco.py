from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.datasets.making import annotation, box, instances, photographs, pickled, reference, runs

from rsagent.evaluation.datasets import DatasetError, grefcoco


def meaning(ref_id: int, ann_ids: Any, text: str, split: str = "val", image_id: int = 1) -> dict[str, Any]:
    """An entry of grefs(unc).json."""
    nothing = ann_ids == [-1]
    more = {"ann_id": ann_ids, "category_id": [-1] if nothing else [1] * 2, "no_target": nothing}
    return reference(ref_id, 0, split, text, image_id=image_id) | more


REFERENCES = [
    meaning(1, [11, 12], "the two people"),
    meaning(2, [-1], "the elephant"),
    meaning(3, [12], "the one on the right"),
    meaning(4, [12, 13], "the man and the crowd"),
    meaning(5, 12, "him", split="testA"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    people = [annotation(11, 1, 1, [box(2, 2, 5, 5)]), annotation(12, 1, 1, [box(20, 2, 6, 5)])]
    crowd = annotation(13, 1, 1, runs(0, 20, 40, 5), iscrowd=1)
    instances(tmp_path / "grefcoco" / "instances.json", [*people, crowd])
    (tmp_path / "grefcoco" / "grefs(unc).json").write_text(json.dumps(REFERENCES))
    photographs(tmp_path / "images" / "train2014")
    return tmp_path


def test_several_one_and_none(root: Path) -> None:
    samples = grefcoco(root, "val")
    assert [(one.id, one.kind) for one in samples] == [
        ("1-10", "several"), ("2-20", "no target"), ("3-30", "one"), ("4-40", "one"),
    ]  # fmt: skip
    both, none, one, without_crowd = (sample.load() for sample in samples)
    assert [int(mask.sum()) for mask in both.targets] == [25, 30]
    assert none.targets == ()
    assert not none.truth.any()
    assert (int(one.truth.sum()), int(without_crowd.truth.sum())) == (30, 30)


def test_a_single_number_is_one_target(root: Path) -> None:
    assert [one.kind for one in grefcoco(root, "testA")] == ["one"]


def test_the_pickle_is_read_where_there_is_no_json(root: Path) -> None:
    (root / "grefcoco" / "grefs(unc).json").unlink()
    pickled(root / "grefcoco" / "grefs(unc).p", REFERENCES)
    assert len(grefcoco(root, "val")) == 4


def test_what_is_missing_is_named(root: Path) -> None:
    with pytest.raises(DatasetError, match="no split 'testB': choose one of testA, val"):
        grefcoco(root, "testB")
    (root / "grefcoco" / "grefs(unc).json").write_text('[{"ref_id": 1}]')
    with pytest.raises(DatasetError, match=r"grefs\(unc\)\.json: 0\.image_id: Field required"):
        grefcoco(root)
    (root / "grefcoco" / "grefs(unc).json").unlink()
    with pytest.raises(DatasetError, match="the expressions of gRefCOCO is not there"):
        grefcoco(root)
