"""Expert episodes: the real episode, driven by the scripted expert against a segmenter that knows the scene.

The expert is made to slip now and then, so that there is something to see and to mend; a slip itself is not taught.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor

from rsagent.agent.actions import Finish, Segment, Zoom
from rsagent.agent.episode import prompt_of, step
from rsagent.agent.state import EpisodeState
from rsagent.geometry import Box, Frame, clip_box
from rsagent.policy.protocol import History, PolicyTurn
from rsagent.segmenter.protocol import Mask, MaskCandidate, SegmentResult
from rsagent.training.policy.lessons import DIALECT, Gaze, Lesson, Scribe, opening
from rsagent.training.policy.shape import CELL
from rsagent.training.synthesis.expert import Expert, Move, mask_iou
from rsagent.training.synthesis.slips import astray, slip
from rsagent.training.world.requests import Request
from rsagent.training.world.scene import Placed, Scene

SLIP = 0.3
THIN = 16
COVERED = 0.06
NO_LOGITS = np.zeros((1, 1), np.float32)


def box_overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    x1, y1, x2, y2 = max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])
    inner = max(0.0, x2 - x1) * max(0.0, y2 - y1)
    area = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other))
    return inner / max(area - inner, 1e-9)


def _filled(box: Box, height: int, width: int) -> Mask:
    """The ellipse inside a box: what a segmenter finds where there is nothing."""
    rows, columns = np.ogrid[:height, :width]
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    across, down = max((box[2] - box[0]) / 2, 1.0), max((box[3] - box[1]) / 2, 1.0)
    return np.asarray(((columns - x) / across) ** 2 + ((rows - y) / down) ** 2 <= 1)


def segment(scene: Scene, box: Box, rng: np.random.Generator) -> SegmentResult:
    """A mask as a trained segmenter would give it for a box: the object that fits it best, cut to the box, its edge
    a little off; an ellipse where no object fits."""
    height, width = scene.image.shape[:2]
    fit, placed = max(((box_overlap(box, placed.box), placed) for placed in scene.objects), key=lambda pair: pair[0])
    if fit < 0.2:
        mask = _filled(clip_box(box, width, height), height, width)
        return _result(mask, float(rng.uniform(0.4, 0.8)))
    grown = clip_box(tuple(side + sign * 6 for side, sign in zip(box, (-1, -1, 1, 1), strict=True)), width, height)  # type: ignore[arg-type]
    cut = np.zeros((height, width), np.uint8)
    x1, y1, x2, y2 = (int(side) for side in grown)
    cut[y1:y2, x1:x2] = placed.mask[y1:y2, x1:x2]
    thick = min(placed.box[2] - placed.box[0], placed.box[3] - placed.box[1]) > THIN
    reach = int(rng.integers(-1, 3)) if thick else 0
    morph = cv2.dilate if reach > 0 else cv2.erode
    found = np.asarray(morph(cut, np.ones((3, 3), np.uint8), iterations=abs(reach)), np.bool_)
    return _result(found, float(np.clip(mask_iou(found, placed.mask) + rng.normal(0, 0.05), 0.3, 0.99)))


def _result(mask: Mask, score: float) -> SegmentResult:
    return SegmentResult(MaskCandidate(mask, NO_LOGITS, score), False, 0.0, 0.0, 1)


def play(scribe: Scribe, scene: Scene, request: Request, turns: int, rng: np.random.Generator) -> Lesson:
    """A whole expert episode as a lesson."""
    state, expert = opening(scene, request, turns)
    slips = turns >= 3 and rng.random() < SLIP
    taught: list[bool] = []
    seen = [0]
    looks: list[tuple[int, Placed, Frame] | None] = []
    while state.stop is None:
        move = expert.decide(state)
        if isinstance(move.action, Zoom) and all(taught):
            move = astray(expert, move, rng)
        elif slips and not state.masks:
            move = slip(expert, state, move, rng)
        taught.append(move.taught)
        looks.append(glance(expert, state, move, seen))
        text = DIALECT.write(move.thought, move.action, state)
        reading = DIALECT.parse(text, state)
        prompt = prompt_of(state, reading.action)
        answer = segment(scene, prompt.box, rng) if prompt and prompt.box else None
        state = step(state, DIALECT, PolicyTurn(text), reading, answer).state
        if isinstance(move.action, Zoom):
            seen.append(state.last_frame.index)
        elif answer is not None:
            seen.append(reading.action.frame if isinstance(reading.action, Segment) else 0)
    history = _spoken(state)
    lesson = scribe.lesson(history, request.kind, {index for index, good in enumerate(taught) if good})
    gazes = zip(scribe.looking(lesson), looks, taught, strict=False)
    return replace(
        lesson,
        gazes=tuple(Gaze(s.start, s.stop, look[0], cells(*look[1:])) for s, look, good in gazes if look and good),
    )


def glance(expert: Expert, state: EpisodeState, move: Move, seen: list[int]) -> tuple[int, Placed, Frame] | None:
    """Which picture a move is told from, the object it is about, and the frame that picture shows; None for moves
    about none or several. `seen`: the frame that each picture of the conversation shows."""
    action = move.action
    if isinstance(action, (Segment, Zoom)) and action.bbox is not None:
        x, y = (action.bbox[0] + action.bbox[2]) / 2, (action.bbox[1] + action.bbox[3]) / 2
        meant = min(expert.order, key=lambda p: abs(p.box[0] + p.box[2] - 2 * x) + abs(p.box[1] + p.box[3] - 2 * y))
        frame = action.frame
    elif isinstance(action, Finish) and len(expert.order) == 1:
        meant, frame = expert.order[0], seen[-1]
    else:
        return None
    picture = max(number for number, shown in enumerate(seen) if shown == frame)
    return picture, meant, state.frames[frame]


def cells(placed: Placed, frame: Frame) -> Tensor:
    """Which cells of a frame's view an object covers, bool [rows * columns]."""
    x1, y1, x2, y2 = frame.box
    width, height = frame.view
    size = (width // CELL, height // CELL)
    share = cv2.resize(placed.mask[y1:y2, x1:x2].astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return torch.from_numpy(np.asarray(share, np.float32).reshape(-1) >= COVERED)


def _spoken(state: EpisodeState) -> History:
    """The history up to the policy's last words: what nobody answers to needs no reading."""
    history = state.history
    return history if history[-1].role == "assistant" else history[:-1]
