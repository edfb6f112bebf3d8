"""The segmenter in the package, on pictures drawn here: it must follow what it sees, not only its prompt."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rsagent.masks.metrics import iou
from rsagent.segmenter.core import SamCore
from rsagent.segmenter.protocol import Prompt
from rsagent.segmenter.variants import load


@pytest.fixture(scope="module")
def nano() -> SamCore:
    return load("nano")


def scene() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A bright triangle on a dark, slightly noisy ground, and its mask. It fills half of its box."""
    rng = np.random.default_rng(0)
    canvas = np.zeros((240, 320), dtype=np.uint8)
    cv2.fillPoly(canvas, [np.array([[80, 200], [240, 200], [160, 50]], dtype=np.int32)], 1)
    mask = canvas > 0
    image = rng.integers(40, 60, (240, 320, 3), dtype=np.uint8)
    image[mask] = rng.integers(190, 215, (int(mask.sum()), 3), dtype=np.uint8)
    return image, mask


def test_a_box_gives_the_thing_in_it_not_the_box(nano: SamCore) -> None:
    image, mask = scene()
    (found,) = nano.decode([(nano.encode(image), Prompt(box=(80, 50, 241, 201)))])
    filled = np.zeros_like(mask)
    filled[50:201, 80:241] = True
    assert iou(found.best.mask, mask) > iou(filled, mask) + 0.2


def test_a_mask_stays_in_its_box(nano: SamCore) -> None:
    image, _ = scene()
    (found,) = nano.decode([(nano.encode(image), Prompt(box=(80, 50, 241, 201)))])
    outside = found.best.mask.copy()
    outside[40:211, 70:251] = False
    assert outside.sum() < 0.05 * found.best.mask.sum()


def test_the_same_prompt_gives_the_same_mask(nano: SamCore) -> None:
    image, _ = scene()
    prompt = Prompt(box=(80, 50, 241, 201))
    first, second = (nano.decode([(nano.encode(image), prompt)])[0].best for _ in range(2))
    assert (first.mask == second.mask).all()
    assert first.score == second.score
