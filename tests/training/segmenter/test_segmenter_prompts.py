import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.training.segmenter.stock import material

from rsagent.training.segmenter.collage import compose
from rsagent.training.segmenter.prompts import (
    clicks,
    corrections,
    ellipses,
    jittered,
    make_task,
    normalised,
    select,
)

SIDE = 96


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_task_holds_each_object_with_its_tight_box() -> None:
    collages = [compose(material(), SIDE, rng(seed)) for seed in (1, 2)]
    task = make_task(collages, SIDE, 5, rng())
    assert task.images.shape == (2, 3, SIDE, SIDE)
    assert task.targets.shape == (10, 1, SIDE // 2, SIDE // 2)
    assert task.image_index.tolist() == [0] * 5 + [1] * 5
    for mask, (x1, y1, x2, y2) in zip(task.masks, task.boxes.astype(int), strict=True):
        assert mask[y1:y2, x1:x2].sum() == mask.sum() > 0
        assert mask[y1].any()
        assert mask[:, x2 - 1].any()
    assert ((task.owners >= 0).float().mean((1, 2)) <= 1).all()


def test_pictures_are_prepared_as_sam_does() -> None:
    from rsagent.segmenter.architecture import NANO, build

    image = rng().integers(0, 255, (40, 64, 3), np.uint8)
    model = build(NANO.__class__(**{**vars(NANO), "image_size": 64}))
    wanted = model.preprocess(torch.from_numpy(image).permute(2, 0, 1).float())
    torch.testing.assert_close(normalised(image, 64), wanted)


@given(st.integers(0, 10_000))
def test_jitter_stays_near_and_inside(seed: int) -> None:
    boxes = np.array([[10, 10, 50, 60], [0, 0, SIDE, SIDE]], np.float32)
    moved = jittered(boxes, SIDE, rng(seed))
    assert moved.min() >= 0
    assert moved.max() <= SIDE
    assert np.abs(moved - boxes).max() <= 0.24 * SIDE + 1e-3


@given(st.integers(0, 10_000))
def test_clicks_land_inside(seed: int) -> None:
    mask = np.zeros((1, SIDE, SIDE), np.bool_)
    mask[0, 20:23, 5:90] = True
    x, y = clicks(mask, rng(seed))[0].astype(int)
    assert mask[0, y, x]


def test_a_correction_adds_what_is_missing_and_removes_what_is_too_much() -> None:
    wanted = np.zeros((2, SIDE, SIDE), np.bool_)
    wanted[:, 10:40, 10:40] = True
    found = wanted.copy()
    found[0, 10:40, 25:40] = False
    found[1, 50:90, 50:90] = True
    points, labels = corrections(wanted, found, rng())
    assert labels.flatten().tolist() == [1, 0]
    assert points[0, 0, 0] >= 25
    assert points[1, 0, 0] >= 50


def test_a_perfect_mask_is_clicked_inside() -> None:
    mask = np.zeros((1, SIDE, SIDE), np.bool_)
    mask[0, 10:40, 10:40] = True
    points, labels = corrections(mask, mask.copy(), rng())
    assert labels.item() == 1
    assert 10 <= points[0, 0, 0] < 40


@pytest.mark.parametrize(("kind", "box", "point"), [("box", True, False), ("point", False, True), ("both", True, True)])
def test_prompts_are_of_the_kind_asked_for(kind: str, box: bool, point: bool) -> None:
    task = ellipses(SIDE, 6, rng())
    batch = select(task, np.array([0, 3]), kind, rng())
    assert (batch.boxes is not None) == box
    assert (batch.points is not None) == point
    assert all(len(part) == 2 for part in (batch.boxes, batch.points) if part is not None)
