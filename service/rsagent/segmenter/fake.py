"""A segmenter without a model, for tests of what stands around one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

from rsagent.deadline import Deadline
from rsagent.errors import DeadlineExceeded
from rsagent.segmenter.protocol import (
    Box,
    Image,
    ImageId,
    LowResCandidate,
    Mask,
    MaskCandidate,
    Prompt,
    SegmentResult,
)

LOW_RES = 64
REACH = 12.0


class FakeSegmenter:
    """Answers with the ellipse inscribed in the box, or a disc around each positive point less those of the negative
    ones; an earlier mask alone comes back as it was.

    `delay` seconds pass before each answer; every call raises `failure` while that is set; `encodes` counts
    the images seen for the first time, `calls` the prompts.
    """

    variant = "fake"

    def __init__(self, delay: float = 0.0, failure: Exception | None = None) -> None:
        self.delay = delay
        self.failure = failure
        self.calls: list[tuple[ImageId, Prompt]] = []
        self.encodes = 0
        self.closed = False
        self.running = 0
        self._seen: set[ImageId] = set()

    async def segment(
        self,
        image_id: ImageId,
        image: Image | Callable[[], Image],
        prompt: Prompt,
        deadline: Deadline | None = None,
    ) -> SegmentResult:
        """See `Segmenter.segment`.  Raises `failure`, and DeadlineExceeded when `delay` is longer than what is left."""
        self.calls.append((image_id, prompt))
        self.running += 1
        try:
            async with (deadline or Deadline.never()).timeout():
                await asyncio.sleep(self.delay)
        except TimeoutError as error:
            raise DeadlineExceeded("the segmenter did not answer within the deadline") from error
        finally:
            self.running -= 1
        if self.failure is not None:
            raise self.failure
        return self._answer(image_id, image() if callable(image) else image, prompt)

    def _answer(self, image_id: ImageId, image: Image, prompt: Prompt) -> SegmentResult:
        first = image_id not in self._seen
        self._seen.add(image_id)
        self.encodes += first
        mask = drawn(prompt, image.shape[0], image.shape[1])
        logits = shrunk(mask)
        best = MaskCandidate(mask, logits, 0.9)
        return SegmentResult(best, (LowResCandidate(logits, 0.9),), first, 5.0 if first else 0.0, 1.0, 1)

    async def ready(self) -> bool:
        return not self.closed and self.failure is None

    async def close(self) -> None:
        self.closed = True


def drawn(prompt: Prompt, height: int, width: int) -> Mask:
    """The fake mask of a prompt, bool [height, width]."""
    if prompt.box is not None:
        mask = _ellipse(prompt.box, height, width)
    elif prompt.base_logits is not None:
        mask = _enlarged(prompt.base_logits > 0, height, width)
    else:
        mask = np.zeros((height, width), np.bool_)
    for x, y, label in prompt.points:
        disc = _ellipse((x - REACH, y - REACH, x + REACH, y + REACH), height, width)
        mask = mask | disc if label else mask & ~disc
    return mask


def _ellipse(box: Box, height: int, width: int) -> Mask:
    x1, y1, x2, y2 = box
    ys, xs = np.mgrid[0:height, 0:width]
    across = (xs + 0.5 - (x1 + x2) / 2) / max((x2 - x1) / 2, 0.5)
    down = (ys + 0.5 - (y1 + y2) / 2) / max((y2 - y1) / 2, 0.5)
    return np.asarray(across**2 + down**2 <= 1)


def _enlarged(mask: Mask, height: int, width: int) -> Mask:
    rows = np.arange(height) * mask.shape[0] // height
    columns = np.arange(width) * mask.shape[1] // width
    return np.asarray(mask[rows][:, columns])


def shrunk(mask: Mask) -> np.ndarray:
    """A mask's fake logits, float32 [64, 64]: +8 inside, -8 outside."""
    return np.where(_enlarged(mask, LOW_RES, LOW_RES), 8.0, -8.0).astype(np.float32)
