"""The scripted expert: what to think and do next in an episode, with the scene's truth in view.

It drives the very episode that serving runs: it is shown an `EpisodeState` and answers with a thought and an
action. The truth it has is in the original picture's pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsagent.agent.actions import Action, Finish, NoTarget, Segment, Zoom
from rsagent.agent.state import EpisodeState, MaskRecord
from rsagent.geometry import Box
from rsagent.segmenter.protocol import Mask
from rsagent.training.synthesis import wording
from rsagent.training.world.requests import Request
from rsagent.training.world.scene import Placed, Scene

GOOD = 0.5
SMALL = 0.35
AROUND = 2.0
LEAST = 0.25
MOSTLY = 0.6


@dataclass(frozen=True)
class Move:
    """A thought and an action; `taught` is false for the slips that the expert makes so that it can mend them."""

    thought: str
    action: Action
    taught: bool = True


def mask_iou(one: Mask, other: Mask) -> float:
    """Intersection over union of two masks of one size; 0 for two empty ones."""
    union = np.count_nonzero(one | other)
    return float(np.count_nonzero(one & other) / union) if union else 0.0


def shows(window: tuple[float, ...], box: Box) -> bool:
    """Whether most of a box lies inside a window."""
    across = max(0.0, min(window[2], box[2]) - max(window[0], box[0]))
    down = max(0.0, min(window[3], box[3]) - max(window[1], box[1]))
    return across * down >= MOSTLY * (box[2] - box[0]) * (box[3] - box[1])


@dataclass(frozen=True)
class Expert:
    """Answers one request about one scene."""

    scene: Scene
    request: Request

    @property
    def order(self) -> tuple[Placed, ...]:
        """The targets as the request names them, those of one name from left to right."""
        targets = (self.scene.objects[index] for index in self.request.targets)
        named = self.request.subject.split(" and ")
        rank = {name: number for number, name in enumerate(named)}
        return tuple(sorted(targets, key=lambda p: (rank.get(p.name, 0), p.box[0] + p.box[2])))

    @property
    def others(self) -> tuple[Placed, ...]:
        """What the request does not ask for."""
        return tuple(p for number, p in enumerate(self.scene.objects) if number not in self.request.targets)

    def decide(self, state: EpisodeState) -> Move:
        """The next move after whatever has happened so far."""
        if not self.request.targets:
            return Move(wording.absent(self.request.subject), NoTarget(wording.missing(self.request.subject)))
        done = self.matched(state)
        last = state.masks[-1] if state.masks and state.turns and state.turns[-1].mask_id else None
        if last is not None and last.mask_id not in done.values():
            return self._mend(state, last, done)
        rest = [placed for index, placed in enumerate(self.order) if index not in done]
        if not rest:
            several = len(self.order) > 1
            thought = wording.together(len(self.order)) if several else wording.fits(self.order[0].name)
            return Move(thought, Finish(tuple(done[index] for index in range(len(self.order)))))
        return self._seek(state, rest[0], first=not done)

    def matched(self, state: EpisodeState) -> dict[int, int]:
        """Target index -> the id of the best mask that shows it well enough."""
        best: dict[int, tuple[float, int]] = {}
        for record in state.masks:
            for index, placed in enumerate(self.order):
                iou = mask_iou(record.mask, placed.mask)
                if iou >= GOOD and iou > best.get(index, (0.0, 0))[0]:
                    best[index] = iou, record.mask_id
        return {index: mask_id for index, (_, mask_id) in best.items()}

    def _segment(self, placed: Placed, state: EpisodeState) -> Segment:
        """The part of its box that the last frame shows."""
        (x1, y1, x2, y2), (left, top, right, bottom) = placed.box, state.last_frame.box
        shown = max(x1, left), max(y1, top), min(x2, right), min(y2, bottom)
        if shown[2] - shown[0] < 1 or shown[3] - shown[1] < 1:
            return Segment(placed.box, frame=0)
        return Segment(shown, frame=state.last_frame.index)

    def _seek(self, state: EpisodeState, placed: Placed, first: bool) -> Move:
        if state.last_frame.index and not shows(state.last_frame.box, placed.box):
            return self._elsewhere(state, placed)
        if self._too_small(state, placed):
            return Move(wording.closer(placed.name), Zoom(self.surroundings(placed), state.last_frame.index))
        say = wording.seek if first else wording.rest
        return Move(say(placed.name), self._segment(placed, state))

    def _too_small(self, state: EpisodeState, placed: Placed) -> bool:
        height, width = self.scene.image.shape[:2]
        x1, y1, x2, y2 = placed.box
        left = state.task.budget.turns - len(state.turns)
        alone = len(self.order) == 1 and state.last_frame.index == 0 and not state.masks
        return alone and left >= 3 and max(x2 - x1, y2 - y1) < SMALL * min(height, width)

    def _elsewhere(self, state: EpisodeState, placed: Placed) -> Move:
        """The last zoom went astray: zoom again where there is time for it, else make do with the whole picture."""
        if state.task.budget.turns - len(state.turns) >= 3:
            return Move(wording.elsewhere(placed.name), Zoom(self.surroundings(placed), 0))
        return Move(wording.elsewhere(placed.name), Segment(placed.box, frame=0))

    def surroundings(self, placed: Placed) -> Box:
        """What a zoom on it shows: the object and half as much again on every side, inside the picture.

        Room enough for the aim of a policy that saw the object as two or three image tokens."""
        height, width = self.scene.image.shape[:2]
        x1, y1, x2, y2 = placed.box
        half = max(AROUND * max(x2 - x1, y2 - y1), LEAST * min(height, width)) / 2
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        x, y = min(max(x, half), width - half), min(max(y, half), height - half)
        return max(x - half, 0.0), max(y - half, 0.0), min(x + half, float(width)), min(y + half, float(height))

    def _mend(self, state: EpisodeState, last: MaskRecord, done: dict[int, int]) -> Move:
        """The last mask shows none of the targets well: say what it shows, and ask again."""
        rest = [placed for index, placed in enumerate(self.order) if index not in done] or [self.order[-1]]
        overlaps = [(float(np.count_nonzero(last.mask & placed.mask)), placed) for placed in self.scene.objects]
        meant = max(rest, key=lambda placed: np.count_nonzero(last.mask & placed.mask))
        share, found = max(overlaps, key=lambda pair: pair[0])
        among = any(found is placed for placed in rest)
        target = meant if among else rest[0]
        if share and not among and found.name != target.name:
            return Move(wording.wrong(found.name, target.name), self._segment(target, state))
        return Move(wording.sloppy(target.name), self._segment(target, state))
