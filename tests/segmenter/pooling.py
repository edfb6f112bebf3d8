"""What the tests of the pool share: calls that a test can tell apart, and a worker that is kept busy."""

from __future__ import annotations

import asyncio

import numpy as np
from tests.segmenter.tiny import HeldCore, until

from rsagent.deadline import Deadline
from rsagent.segmenter.pool import SegmenterPool
from rsagent.segmenter.protocol import Prompt, SegmentResult

Call = asyncio.Task[SegmentResult]
IMAGES = {name: np.full((4, 6, 3), value, np.uint8) for value, name in enumerate("abcdefgh")}


def prompt(number: float) -> Prompt:
    """A prompt that a test can tell from the others, by its box's first coordinate."""
    return Prompt(box=(number, 0.0, 1.0, 1.0))


def call(pool: SegmenterPool, image: str, number: float, deadline: Deadline | None = None) -> Call:
    return asyncio.create_task(pool.segment(image, IMAGES[image], prompt(number), deadline))


def numbers(core: HeldCore) -> list[list[float]]:
    """The batches decoded so far, by their prompts' numbers."""
    return [[one.box[0] for one in batch if one.box is not None] for batch in core.batches]


async def know(pool: SegmenterPool, core: HeldCore, images: str = "abc") -> None:
    """Have the images encoded, so that only decodes are left to watch."""
    for image in images:
        await call(pool, image, 0.0)
    core.batches.clear()


async def occupy(pool: SegmenterPool, core: HeldCore, number: float = 1.0) -> Call:
    """Keep the only worker busy decoding until `core.go` is set."""
    await know(pool, core)
    core.go.clear()
    busy = call(pool, "a", number)
    await until(lambda: len(core.batches) == 1)
    return busy
