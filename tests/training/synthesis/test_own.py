from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from rsagent.evaluation.datasets.files import DatasetError
from rsagent.training.synthesis.own import TARGET, OwnSource, plain_name


def square(x: int, y: int, side: int = 20) -> list[float]:
    return [x, y, x + side, y, x + side, y + side, x, y + side]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number in (1, 2):
        cv2.imwrite(str(tmp_path / "images" / f"{number}.jpg"), np.full((100, 120, 3), 90, np.uint8))
    shown = [{"id": n, "file_name": f"{n}.jpg", "width": 120, "height": 100} for n in (1, 2)]
    boxes = [(1, 1, 10, 10), (1, 1, 50, 10), (1, 2, 80, 60), (2, 2, 30, 30)]
    made = [
        {"id": n, "image_id": i, "category_id": c, "segmentation": [square(x, y)], "area": 400, "iscrowd": 0}
        for n, (i, c, x, y) in enumerate(boxes, 1)
    ]
    kinds = [{"id": n, "name": name} for n, name in enumerate(("dog", "cup", "kite"), 1)]
    file = tmp_path / "instances.json"
    file.write_text(json.dumps({"images": shown, "annotations": made, "categories": kinds}), encoding="utf-8")
    return file


def test_a_picture_of_coco_is_an_occasion_with_all_its_objects(coco: Path) -> None:
    first, second = OwnSource("coco", coco).shard(0)
    assert [placed.name for placed in first.scene.objects] == ["dog", "dog", "cup"]
    by_kind = {request.kind: request for request in first.requests}
    assert by_kind["several"].targets == (0, 1)
    assert "dogs" in by_kind["several"].text.lower()
    assert by_kind["name"].targets == (2,)
    assert by_kind["absent"].subject == "kite"
    assert len(second.scene.objects) == 1
    assert not OwnSource("coco", coco).shard(1)


def test_absent_categories_are_asked_only_where_all_is_annotated(coco: Path) -> None:
    asked = OwnSource("coco", coco, absent=0).shard(0)
    assert all(request.targets for occasion in asked for request in occasion.requests)


def test_reasonseg_is_asked_in_its_own_sentences(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    cv2.imwrite(str(folder / "1.jpg"), np.full((100, 120, 3), 90, np.uint8))
    shape = {"label": "target", "points": [[10, 10], [60, 10], [60, 60], [10, 60]]}
    texts = ["What could one sit on when tired of walking about?", "the wooden bench"]
    fields = {"text": texts, "is_sentence": True, "shapes": [shape]}
    (folder / "1.json").write_text(json.dumps(fields), encoding="utf-8")
    (occasion,) = OwnSource("reasonseg", tmp_path).shard(0)
    assert [request.text for request in occasion.requests] == texts
    assert [request.subject for request in occasion.requests] == [TARGET, "wooden bench"]
    assert {request.targets for request in occasion.requests} == {(0,)}


def test_a_folder_that_is_none_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        OwnSource("reasonseg", tmp_path).shard(0)


@pytest.mark.parametrize(
    ("query", "name"), [("the red cup", "red cup"), ("dog.", "dog"), ("which one flies?", TARGET), ("", TARGET)]
)
def test_a_thought_calls_a_thing_by_a_short_name(query: str, name: str) -> None:
    assert plain_name(query) == name


def test_pictures_whose_names_look_alike_stay_apart(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    for number, stem in enumerate(("table-apple", "table-cup", "img-a1", "img-a2", "odd#1")):
        cv2.imwrite(str(folder / f"{stem}.jpg"), np.full((100 + number, 120, 3), 90, np.uint8))
        shape = {"label": "target", "points": [[10, 10], [60, 10], [60, 60], [10, 60]]}
        fields = {"text": [f"the {stem}"], "is_sentence": False, "shapes": [shape]}
        (folder / f"{stem}.json").write_text(json.dumps(fields), encoding="utf-8")
    occasions = OwnSource("reasonseg", tmp_path).shard(0)
    assert {one.name for one in occasions} == {"table-apple", "table-cup", "img-a1", "img-a2", "odd#1"}
    assert all(len(one.requests) == 1 for one in occasions)


def test_sentences_of_annotations_are_about_one_picture(coco: Path) -> None:
    told = json.loads(coco.read_text(encoding="utf-8"))
    for one in told["annotations"]:
        one["text"] = f"number {one['id']}"
    coco.write_text(json.dumps(told), encoding="utf-8")
    first, second = OwnSource("coco", coco, absent=0).shard(0)
    assert [request.text for request in first.requests] == ["number 1", "number 2", "number 3"]
    assert len(first.scene.objects) == 3, "what one means is what another may be taken for"
    assert [request.text for request in second.requests] == ["number 4"]
