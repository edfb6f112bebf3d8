"""What rewards look at: an ended episode, counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rsagent.agent.actions import Malformed, Segment
from rsagent.agent.state import EpisodeResult, EpisodeState, StopReason, Turn
from rsagent.masks.metrics import overlap
from rsagent.segmenter.protocol import Mask

SAME = 0.98
"""Two masks with this IoU are one: asking for the second was redundant."""


@dataclass(frozen=True, slots=True)
class Click:
    """A point of a `segment` call that refines a mask (or starts from none): whether it adds, and whether what it
    points at is meant, and was in the mask it refines."""

    positive: bool
    meant: bool
    covered: bool

    @property
    def right(self) -> bool:
        """Adds what is meant and missing, or takes away what is covered and not meant."""
        return self.meant and not self.covered if self.positive else self.covered and not self.meant


@dataclass(frozen=True, slots=True)
class Trace:
    """An episode's figures. `ious` are those of the masks shown, in order, `final` that of what was submitted; an
    absent target has none, and 0. `malformed`, `thoughtless` (of those that are valid), `repeated` count turns,
    `redundant` masks shown before."""

    absent: bool
    stop: StopReason
    turns: int
    ious: tuple[float, ...] = ()
    final: float = 0.0
    malformed: int = 0
    thoughtless: int = 0
    repeated: int = 0
    redundant: int = 0
    clicks: tuple[Click, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether the policy said that nothing is meant."""
        return self.stop is StopReason.NO_TARGET

    @property
    def finished(self) -> bool:
        return self.stop is StopReason.FINISHED


def trace(result: EpisodeResult, truth: Mask) -> Trace:
    """The figures of an ended episode against `truth`, bool [H, W], empty for an absent target."""
    state, absent = result.state, not truth.any()
    ious = () if absent else tuple(overlap(record.mask, truth).iou for record in state.masks)
    return Trace(
        absent,
        result.stop,
        len(state.turns),
        ious,
        final=0.0 if absent else overlap(result.union, truth).iou,
        malformed=sum(isinstance(turn.action, Malformed) for turn in state.turns),
        thoughtless=sum(not turn.thought and not isinstance(turn.action, Malformed) for turn in state.turns),
        repeated=sum(turn.repeated for turn in state.turns),
        redundant=_redundant(state),
        clicks=tuple(click for turn in state.turns for click in _clicks(state, turn, truth)),
    )


def _redundant(state: EpisodeState) -> int:
    """How many masks are one that was shown before."""
    masks = [record.mask for record in state.masks]
    return sum(any(overlap(mask, earlier).iou >= SAME for earlier in masks[:place]) for place, mask in enumerate(masks))


def _clicks(state: EpisodeState, turn: Turn, truth: Mask) -> Iterator[Click]:
    if not isinstance(turn.action, Segment) or turn.repeated:
        return
    base = None if turn.action.base_mask is None else state.mask(turn.action.base_mask)
    before = np.zeros_like(truth) if base is None else base.mask
    for point in turn.action.points:
        at = (min(int(point.y), truth.shape[0] - 1), min(int(point.x), truth.shape[1] - 1))
        yield Click(point.positive, bool(truth[at]), bool(before[at]))
