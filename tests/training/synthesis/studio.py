"""What the tests of the synthesis share: a segmenter that may be made blunt, and episodes played by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tests.training.policy.stages import request, scene

from rsagent.agent import dialects
from rsagent.policy.protocol import ViewSpec
from rsagent.segmenter.fake import FakeSegmenter
from rsagent.segmenter.protocol import Image, Mask, Prompt, SegmentResult, image_id
from rsagent.training.synthesis.acting import Acted, Plan, Stage, act
from rsagent.training.synthesis.expert import Expert, Habits
from rsagent.training.synthesis.records import Trajectory
from rsagent.training.synthesis.transcript import Gallery, Origin, transcribe
from rsagent.training.world.requests import Request

VIEW = ViewSpec(224 * 224, 32, 32 * 1024)
CLICKING = Habits(clicks=2)


class Blunt(FakeSegmenter):
    """Masks lack the lower part of the box (`lacking` of its height) until a click asks for more; `stubborn` ones
    never change."""

    def __init__(self, lacking: float = 0.0, stubborn: bool = False) -> None:
        super().__init__()
        self.lacking, self.stubborn = lacking, stubborn

    def _answer(self, image_id: str, image: Image | Callable[[], Image], prompt: Prompt) -> SegmentResult:
        assert not callable(image)
        box_alone = Prompt(box=prompt.box)
        answer = super()._answer(image_id, image, box_alone)
        if prompt.box is None or (prompt.points and not self.stubborn):
            return answer
        best, cut = answer.best, prompt.box[3] - self.lacking * (prompt.box[3] - prompt.box[1])
        mask: Mask = best.mask.copy()
        mask[round(cut) :] = False
        return SegmentResult(type(best)(mask, best.logits, best.score), False, 0.0, 0.0, 1)


def acted(
    asked: Request, plan: Plan = "straight", budget: int = 8, habits: Habits = CLICKING,
    segmenter: FakeSegmenter | None = None, seed: int = 0, dialect: str = "nano",
) -> Acted:  # fmt: skip
    stage = Stage(dialects.get(dialect), VIEW, segmenter or Blunt())
    shown = scene()
    rng = np.random.default_rng(seed)
    return asyncio.run(act(Expert(shown, asked, habits), image_id(shown.image), plan, budget, stage, rng))


def trajectory(one: Acted, id: str = "test-train-1-0-straight", folder: Path = Path()) -> Trajectory:
    return transcribe(one, Origin(id, "test", "train", "1"), "nano", Gallery(folder))


__all__ = ["Blunt", "acted", "request", "scene", "trajectory"]
