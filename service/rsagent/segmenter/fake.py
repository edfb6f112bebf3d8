"""A segmenter for tests of what lies around it: it fills the box, or a disc around each point."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

from rsagent.deadline import Deadline
from rsagent.errors import RSAgentError
from rsagent.segmenter.protocol import Image, ImageId, Mask, MaskCandidate, Prompt, SegmentResult

RADIUS = 6.0
SIDE = 32


class FakeSegmenter:
    """Deterministic masks without a model. `delay` seconds pass before each answer, then `failure` is raised if given.

    `running`, `calls` and `cancelled` count calls; `encodes` counts images by id, `prompts` keeps what was asked.
    """

    def __init__(self, *, delay: float = 0.0, failure: RSAgentError | None = None, score: float = 0.9) -> None:
        self.delay, self.failure, self.score = delay, failure, score
        self.running = self.calls = self.cancelled = 0
        self.encodes: dict[ImageId, int] = {}
        self.prompts: list[Prompt] = []
        self.healthy = True

    @property
    def variant(self) -> str:
        return "fake"

    async def segment(
        self,
        image_id: ImageId,
        image: Image | Callable[[], Image],
        prompt: Prompt,
        deadline: Deadline | None = None,
    ) -> SegmentResult:
        """See `Segmenter.segment`."""
        self.calls += 1
        self.running += 1
        self.prompts.append(prompt)
        try:
            await asyncio.sleep(self.delay)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        if self.failure is not None:
            raise self.failure
        return self._answer(image_id, image() if callable(image) else image, prompt)

    async def ready(self) -> bool:
        return self.healthy

    async def close(self) -> None:
        self.healthy = False

    def _answer(self, image_id: ImageId, image: Image, prompt: Prompt) -> SegmentResult:
        encoded = image_id not in self.encodes
        self.encodes[image_id] = self.encodes.get(image_id, 0) + encoded
        mask = filled(image.shape[0], image.shape[1], prompt)
        logits = np.full((SIDE, SIDE), 1.0 if mask.any() else -1.0, dtype=np.float32)
        best = MaskCandidate(mask, logits, self.score)
        return SegmentResult(best, encoded, 1.0 * encoded, 1.0, 1)


def filled(height: int, width: int, prompt: Prompt) -> Mask:
    """bool [height, width]: the prompt's box filled, discs around points added (label 1) or removed."""
    mask = np.zeros((height, width), dtype=np.bool_)
    if prompt.box is not None:
        x1, y1, x2, y2 = (round(value) for value in prompt.box)
        mask[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)] = True
    rows, columns = np.ogrid[:height, :width]
    for x, y, label in prompt.points:
        mask[(columns - x) ** 2 + (rows - y) ** 2 < RADIUS**2] = label == 1
    return mask
