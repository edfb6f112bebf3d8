"""The scripted expert: what to think and do next in an episode, with the scene's truth in view.

It drives the very episode that serving runs: it is shown an `EpisodeState` and answers with a thought and an
action. The truth it has is in the original picture's pixels.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeGuard

import numpy as np

from rsagent.agent.actions import Action, Finish, NoTarget, Segment, Zoom
from rsagent.agent.state import EpisodeState, MaskRecord
from rsagent.geometry import Box, Frame, Point
from rsagent.segmenter.protocol import Mask
from rsagent.training.synthesis import wording
from rsagent.training.synthesis.clicks import correction
from rsagent.training.world.layout import centre
from rsagent.training.world.names import entries, holds
from rsagent.training.world.requests import Request
from rsagent.training.world.scene import Placed, Scene

SMALL = 0.35
AROUND = 2.0
LEAST = 0.25
MOSTLY = 0.6
MOST_POINTS = 4
SAME = 0.97
"""IoU of two masks from which on a click has changed nothing worth another one."""


@dataclass(frozen=True)
class Habits:
    """How the expert works: a mask is one of a target from IoU `shown` on, and is corrected by at most `clicks`
    clicks while it is below `good`. What is smaller than `small` of the picture's shorter side is zoomed at first.
    `voice` varies its words; None speaks always the same way."""

    shown: float = 0.5
    good: float = 0.8
    clicks: int = 0
    small: float = SMALL
    voice: int | None = None


@dataclass(frozen=True)
class Move:
    """A thought and an action; `taught` is false for the slips that the expert makes so that it can mend them.
    `about` is the object that the move is for, None where it is for none or for several."""

    thought: str
    action: Action
    taught: bool = True
    about: Placed | None = field(default=None, compare=False, repr=False)


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
    """Answers one request about one scene. `place` spells a point of the picture in a dialect; with it, the first
    thought about a relation says where that is to which the relation refers."""

    scene: Scene
    request: Request
    habits: Habits = Habits()
    place: Callable[[float, float, Frame], str] | None = None

    def say(self, state: EpisodeState, situation: str, name: str, found: str = "") -> str:
        """A thought, in words that depend on the turn and the habit alone."""
        return wording.phrase(situation, name, found, self._pick(state, situation))

    def _pick(self, state: EpisodeState, situation: str) -> int:
        voice = self.habits.voice
        return 0 if voice is None else zlib.crc32(f"{voice}:{len(state.turns)}:{situation}".encode())

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
        move = self._decide(state)
        if self.place is None or state.turns or self.request.anchor is None or not self.request.targets:
            return move
        anchor = self.scene.objects[self.request.anchor]
        place = self.place(*centre(anchor), state.last_frame)
        return replace(move, thought=f"{wording.reference(anchor.name, place)} {move.thought}")

    def _decide(self, state: EpisodeState) -> Move:
        last = state.masks[-1] if state.masks and state.turns and state.turns[-1].mask_id else None
        if not self.request.targets:
            return self._refuse(state, last)
        done = self.matched(state)
        if last is not None and last.mask_id not in done.values() and not _clicked(state.turns[-1].action):
            return self._mend(state, last, done)
        better = self._improve(state, last, done) if last is not None else None
        if better is not None:
            return better
        rest = [placed for index, placed in enumerate(self.order) if index not in done]
        if rest and last is not None and _clicked(state.turns[-1].action) and not done:
            return self._give_up(state, last, rest[0])
        return self._seek(state, rest[0], first=not done) if rest else self._submit(state, done)

    def _give_up(self, state: EpisodeState, last: MaskRecord, target: Placed) -> Move:
        """Neither box nor click shows it: what there is."""
        return Move(self.say(state, "enough", target.name), Finish((last.mask_id,)), about=target)

    @property
    def sought(self) -> str:
        """What is thought of as sought where nothing is meant: the name that the request says. A sentence says none,
        and who had to guess it from the words alone would guess names that are not in view of other sentences, too."""
        subject = self.request.subject
        phrases = next((entry.phrases for entry in entries() if entry.name == subject), (subject,))
        words = re.sub(r"[^\w' -]", " ", self.request.text)
        return subject if any(holds(words, phrase) for phrase in phrases) else wording.SOMETHING

    def _refuse(self, state: EpisodeState, last: MaskRecord | None) -> Move:
        name = self.sought
        found = None if last is None else self.under(last)
        thought = self.say(state, "deny", name, found.name) if found else self.say(state, "absent", name)
        return Move(thought, NoTarget(wording.missing(name)))

    def _submit(self, state: EpisodeState, done: dict[int, int]) -> Move:
        masks, name = Finish(tuple(done[index] for index in range(len(self.order)))), self.order[0].name
        if len(self.order) > 1:
            return Move(wording.together(len(self.order), self._pick(state, "together")), masks)
        record = state.mask(done[0])
        good = self.habits.clicks == 0 or (record and mask_iou(record.mask, self.order[0].mask) >= self.habits.good)
        return Move(self.say(state, "fits" if good else "enough", name), masks, about=self.order[0])

    def under(self, record: MaskRecord) -> Placed | None:
        """The object that most of a mask lies on; None for a mask that lies mostly on none."""
        share, found = max(
            ((float(np.count_nonzero(record.mask & placed.mask)), placed) for placed in self.scene.objects),
            key=lambda pair: pair[0],
            default=(0.0, None),
        )
        return found if share > 0 else None

    def matched(self, state: EpisodeState) -> dict[int, int]:
        """Target index -> the id of the best mask that shows it well enough."""
        best: dict[int, tuple[float, int]] = {}
        for record in state.masks:
            for index, placed in enumerate(self.order):
                iou = mask_iou(record.mask, placed.mask)
                if iou >= self.habits.shown and iou > best.get(index, (0.0, 0))[0]:
                    best[index] = iou, record.mask_id
        return {index: mask_id for index, (_, mask_id) in best.items()}

    def _segment(self, placed: Placed, state: EpisodeState) -> Segment:
        """The part of its box that the last frame shows."""
        (x1, y1, x2, y2), (left, top, right, bottom) = placed.box, state.last_frame.box
        shown = max(x1, left), max(y1, top), min(x2, right), min(y2, bottom)
        if shown[2] - shown[0] < 1 or shown[3] - shown[1] < 1:
            return Segment(placed.box, frame=0)
        return Segment(shown, frame=state.last_frame.index)

    def _improve(self, state: EpisodeState, last: MaskRecord, done: dict[int, int]) -> Move | None:
        """A click in the larger error of the last mask, while that mask is the best of its object and not good.

        The box is said again and the earlier clicks are kept: of the ways to refine a mask, that is the one which
        helps (measured on collages: half of such clicks gain, a click upon the mask alone gains a quarter)."""
        index = next((index for index, mask_id in done.items() if mask_id == last.mask_id), None)
        asked = state.turns[-1].action
        if index is None or not isinstance(asked, Segment) or not self._worth(state, last, done):
            return None
        placed = self.order[index]
        click = correction(last.mask, placed.mask)
        if mask_iou(last.mask, placed.mask) >= self.habits.good or click is None:
            return None
        again = self._segment(placed, state)
        frame = state.frames[again.frame].box
        if not (frame[0] <= click.x <= frame[2] and frame[1] <= click.y <= frame[3]):
            again = Segment(placed.box, frame=0)
        kept: tuple[Point, ...] = asked.points[-MOST_POINTS + 1 :]
        action = Segment(again.bbox, (*kept, click), last.mask_id, again.frame)
        return Move(self.say(state, "lacks" if click.positive else "spills", placed.name), action, about=placed)

    def _worth(self, state: EpisodeState, last: MaskRecord, done: dict[int, int]) -> bool:
        """Whether there are clicks left, turns for what else is to be done, and the last click was of use."""
        clicks = 0
        for turn in reversed(state.turns):
            if not _clicked(turn.action):
                break
            clicks += 1
        asked = state.turns[-1].action
        base = state.mask(asked.base_mask) if isinstance(asked, Segment) and asked.base_mask is not None else None
        if base is not None and mask_iou(base.mask, last.mask) > SAME:
            return False
        left = state.task.budget.turns - len(state.turns) - (len(self.order) - len(done)) - 1
        return clicks < self.habits.clicks and left > 0

    def _seek(self, state: EpisodeState, placed: Placed, first: bool) -> Move:
        if state.last_frame.index and not shows(state.last_frame.box, placed.box):
            return self._elsewhere(state, placed)
        if self.too_small(state, placed) and not state.masks:
            closer = Zoom(self.surroundings(placed), state.last_frame.index)
            return Move(self.say(state, "closer", placed.name), closer, about=placed)
        thought = self.say(state, "seek" if first else "rest", placed.name)
        return Move(thought, self._segment(placed, state), about=placed)

    def too_small(self, state: EpisodeState, placed: Placed) -> bool:
        """Whether a thing is to be zoomed on before it is segmented: small, the only one meant, and there is time."""
        height, width = self.scene.image.shape[:2]
        x1, y1, x2, y2 = placed.box
        left = state.task.budget.turns - len(state.turns)
        alone = len(self.order) == 1 and state.last_frame.index == 0
        return alone and left >= 3 and max(x2 - x1, y2 - y1) < self.habits.small * min(height, width)

    def _elsewhere(self, state: EpisodeState, placed: Placed) -> Move:
        """The last zoom went astray: zoom again where there is time for it, else make do with the whole picture."""
        thought = self.say(state, "elsewhere", placed.name)
        if state.task.budget.turns - len(state.turns) >= 3:
            return Move(thought, Zoom(self.surroundings(placed), 0), about=placed)
        return Move(thought, Segment(placed.box, frame=0), about=placed)

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
        meant = max(rest, key=lambda placed: np.count_nonzero(last.mask & placed.mask))
        found = self.under(last)
        among = any(found is placed for placed in rest)
        target = meant if among else rest[0]
        thought = self.say(state, "sloppy", target.name)
        if found and not among:
            situation = "other" if found.name == target.name else "wrong"
            thought = self.say(state, situation, target.name, found.name)
        again = self._segment(target, state)
        if self.habits.clicks and not among and self.too_small(state, target):
            return Move(thought, Zoom(self.surroundings(target), 0), about=target)
        if self.habits.clicks and any(_same_place(turn.action, again) for turn in state.turns):
            return self._differently(state, last, target, again)
        return Move(thought, again, about=target)

    def _differently(self, state: EpisodeState, last: MaskRecord, target: Placed, again: Segment) -> Move:
        """The box was tried and the mask is bad all the same: a click says more, or else nothing does."""
        click = correction(last.mask, target.mask)
        action = None if click is None else Segment(again.bbox, (click,), last.mask_id, again.frame)
        if click is None or action is None or state.task.budget.turns - len(state.turns) < 2:
            return self._give_up(state, last, target)
        return Move(self.say(state, "lacks" if click.positive else "spills", target.name), action, about=target)


def _clicked(action: Action) -> TypeGuard[Segment]:
    """Whether a move refines an earlier mask."""
    return isinstance(action, Segment) and action.base_mask is not None


def _same_place(action: Action, asked: Segment) -> bool:
    """Whether a move asked for that box already, give or take the grid that a dialect writes on."""
    if not isinstance(action, Segment) or action.bbox is None or asked.bbox is None or action.frame != asked.frame:
        return False
    spread = max(asked.bbox[2] - asked.bbox[0], asked.bbox[3] - asked.bbox[1]) * 0.1 + 4
    return max(abs(a - b) for a, b in zip(action.bbox, asked.bbox, strict=True)) < spread
