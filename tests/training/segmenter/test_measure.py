import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from rsagent.segmenter.core import SamCore
from rsagent.training.segmenter import measure
from rsagent.training.segmenter.train import fresh


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.jpg"), np.full((100, 120, 3), 90, np.uint8))
    square = {
        "image_id": 7,
        "bbox": [10, 20, 50, 60],
        "area": 3000.0,
        "segmentation": [[10, 20, 59, 20, 59, 79, 10, 79]],
    }
    small = {**square, "area": 900.0}
    rows = {"images": [{"id": 7, "file_name": "a.jpg"}], "annotations": [square, small]}
    (tmp_path / "instances.json").write_text(json.dumps(rows))
    return tmp_path


def test_small_instances_are_left_out(folder: Path) -> None:
    image, instances = next(measure.coco(folder))
    assert list(image.shape) == [100, 120, 3]
    assert len(instances) == 1
    only = instances[0]
    assert list(only.box) == [10, 20, 60, 80]
    assert only.mask[20:80, 10:60].all()
    assert only.mask.sum() == 50 * 60


def test_figures_count_every_instance(folder: Path) -> None:
    figures = measure.measure(SamCore(fresh(64)), measure.coco(folder))
    assert figures["instances"] == 1
    assert figures["fill_the_box"] == pytest.approx(1)
    assert 0 <= figures["box"] <= 1
    assert {"point", "box_then_click"} <= figures.keys()


def test_iou_of_empty_masks_is_one() -> None:
    empty, full = np.zeros((4, 4), np.bool_), np.ones((4, 4), np.bool_)
    assert measure.iou(empty, empty) == 1
    assert measure.iou(empty, full) == 0


def test_the_deepest_point_is_in_the_middle() -> None:
    mask = np.zeros((40, 40), np.bool_)
    mask[10:31, 10:31] = True
    assert measure.deepest(mask) == (20, 20, 1)


def test_a_correction_outside_is_negative() -> None:
    wanted = np.zeros((40, 40), np.bool_)
    wanted[:10, :10] = True
    assert measure.correction(np.ones_like(wanted), wanted)[2] == 0
    assert measure.correction(np.zeros_like(wanted), wanted)[2] == 1
