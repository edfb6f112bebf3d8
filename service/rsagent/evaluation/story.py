"""An attempt as it is written down: enough to draw every turn of it later."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from rsagent.api.answers import ActionDocument
from rsagent.evaluation.attempt import Attempt
from rsagent.evaluation.samples import Loaded
from rsagent.masks import rle
from rsagent.masks.metrics import overlap
from rsagent.segmenter.protocol import Mask


class StoryStep(BaseModel):
    """A turn. `mask` holds COCO's compressed runs, `iou` that mask's IoU; both None where the turn made no mask."""

    model_config = ConfigDict(frozen=True)

    thought: str
    action: ActionDocument
    observation: str
    mask: str | None = None
    iou: float | None = None


class Story(BaseModel):
    """All turns. `size` is [height, width], `submitted` the runs of the submitted mask."""

    model_config = ConfigDict(frozen=True)

    size: tuple[int, int]
    submitted: str
    steps: tuple[StoryStep, ...] = ()

    def mask(self, counts: str) -> Mask:
        """bool [H, W] of some runs of this story."""
        return rle.decode(counts, *self.size)


def story_of(attempt: Attempt, loaded: Loaded) -> Story:
    """The story of an attempt. Takes the CPU: masks are encoded."""
    truth = loaded.truth
    steps = tuple(
        StoryStep(
            thought=step.thought,
            action=step.action,
            observation=step.observation,
            mask=None if step.mask is None else rle.encode(step.mask),
            iou=None if step.mask is None else overlap(step.mask, truth, loaded.ignore).iou,
        )
        for step in attempt.steps
    )
    height, width = attempt.submitted.shape
    return Story(size=(height, width), submitted=rle.encode(attempt.submitted), steps=steps)
