"""The fake keeps the protocol, so that what is tested on it holds on a model."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.segmenter.tiny import settle

from rsagent.errors import SegmenterError
from rsagent.segmenter.fake import RADIUS, FakeSegmenter, filled
from rsagent.segmenter.protocol import Image, Prompt, Segmenter

IMAGE = np.zeros((20, 30, 3), np.uint8)


async def test_it_fills_the_box() -> None:
    segmenter: Segmenter = FakeSegmenter(score=0.7)
    answer = await segmenter.segment("a", IMAGE, Prompt(box=(5, 2, 15, 12)))
    expected = np.zeros((20, 30), np.bool_)
    expected[2:12, 5:15] = True
    np.testing.assert_array_equal(answer.best.mask, expected)
    assert answer.best.logits.dtype == np.float32
    assert (answer.best.score, answer.batch_size) == (0.7, 1)
    assert segmenter.variant == "fake"


def test_points_add_discs_and_take_them_away() -> None:
    assert filled(20, 30, Prompt(points=((15.0, 10.0, 1),)))[10, 15]
    both = filled(20, 30, Prompt(box=(0, 0, 30, 20), points=((15.0, 10.0, 0),)))
    assert not both[10, 15]
    assert both[0, 0]


COORDINATE = st.floats(-100, 100)


@given(
    st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE),
    st.lists(st.tuples(COORDINATE, COORDINATE, st.sampled_from([0, 1])), max_size=4),
)
def test_any_prompt_gives_a_mask_near_it(
    box: tuple[float, float, float, float], points: list[tuple[float, float, int]]
) -> None:
    mask = filled(20, 30, Prompt(box=box, points=tuple(points)))
    assert mask.shape == (20, 30)
    assert mask.dtype == np.bool_
    rows, columns = np.nonzero(mask)
    in_box = (columns >= box[0] - 1) & (columns <= box[2]) & (rows >= box[1] - 1) & (rows <= box[3])
    near = [np.hypot(columns - x, rows - y) < RADIUS for x, y, label in points if label]
    assert np.logical_or.reduce([in_box, *near]).all()


async def test_it_encodes_each_image_once_and_asks_for_pixels() -> None:
    segmenter, asked = FakeSegmenter(), []

    def image() -> Image:
        asked.append(1)
        return IMAGE

    answers = [await segmenter.segment(name, image, Prompt(box=(0, 0, 1, 1))) for name in "aba"]
    assert [answer.encoded for answer in answers] == [True, True, False]
    assert segmenter.encodes == {"a": 1, "b": 1}
    assert (segmenter.calls, segmenter.running, len(segmenter.prompts)) == (3, 0, 3)
    assert asked


async def test_it_fails_and_slows_down_when_told() -> None:
    segmenter = FakeSegmenter(failure=SegmenterError("out of order"))
    with pytest.raises(SegmenterError, match="out of order"):
        await segmenter.segment("a", IMAGE, Prompt(box=(0, 0, 1, 1)))
    slow = FakeSegmenter(delay=60)
    call = asyncio.create_task(slow.segment("a", IMAGE, Prompt(box=(0, 0, 1, 1))))
    await settle()
    assert slow.running == 1
    call.cancel()
    await settle()
    assert (slow.running, slow.cancelled, call.cancelled()) == (0, 1, True)


async def test_it_is_ready_until_it_is_closed() -> None:
    segmenter = FakeSegmenter()
    assert await segmenter.ready()
    await segmenter.close()
    assert not await segmenter.ready()
