"""Moves made before the policy's first: a user's clicks, and what an earlier episode on the picture did up to there.

A policy goes on from them as from its own, so it is told of them as of its own: each is written in its dialect,
answered by the segmenter and shown, and ids count as they did when the moves were first made. Nothing is kept
between requests for that; replaying costs a mask decode a move, and the picture is encoded once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rsagent.agent.actions import Segment, Zoom
from rsagent.agent.dialects.protocol import Dialect, Reading
from rsagent.agent.prompts import POINTED, neutralise
from rsagent.agent.state import EpisodeState
from rsagent.errors import BadQuery
from rsagent.geometry import Box
from rsagent.policy.protocol import PolicyTurn


@dataclass(frozen=True, slots=True)
class Given:
    """A move and the thought that led to it; a user's own move has none."""

    action: Segment | Zoom
    thought: str | None = None


def as_turn(given: Given, dialect: Dialect, state: EpisodeState) -> tuple[PolicyTurn, Reading]:
    """The move as if the policy had made it now: the reply that its history will show, and the exact action."""
    thought = POINTED if given.thought is None else neutralise(given.thought)
    return PolicyTurn(dialect.write(thought, given.action, state)), Reading(thought, given.action, given=True)


def check(moves: Sequence[Given], width: int, height: int, points: int) -> None:
    """Whether `moves` can be made in this order on a `width` × `height` picture, with at most `points` points each.

    Raises BadQuery, naming the move and what is wrong with it.
    """
    masks, frames = 0, 1
    for place, move in enumerate(moves):
        wrong = next(_faults(move.action, masks, frames, points, (0.0, 0.0, float(width), float(height))), None)
        if wrong is None and any(move.action == earlier.action for earlier in moves[:place]):
            wrong = "repeats an earlier move: leave it out"
        if wrong is not None:
            raise BadQuery(f"start.{place} {wrong}")
        masks, frames = masks + isinstance(move.action, Segment), frames + isinstance(move.action, Zoom)


def _faults(action: Segment | Zoom, masks: int, frames: int, points: int, whole: Box) -> Iterator[str]:
    if action.frame >= frames:
        yield f"speaks of frame {action.frame}, which no zoom before it has opened"
    if action.bbox is not None and not _inside(action.bbox, whole):
        yield f"has a box that is empty or leaves the picture ({whole[2]:g} × {whole[3]:g} pixels)"
    if isinstance(action, Zoom):
        return
    if action.bbox is None and not action.points:
        yield "needs a bbox, points, or both"
    if len(action.points) > points:
        yield f"has {len(action.points)} points; at most {points} are taken"
    if any(not (0 <= point.x <= whole[2] and 0 <= point.y <= whole[3]) for point in action.points):
        yield f"has a point outside the picture ({whole[2]:g} × {whole[3]:g} pixels)"
    if action.base_mask is not None and not 1 <= action.base_mask <= masks:
        yield f"refines mask {action.base_mask}; the moves before it make {masks}"


def _inside(box: Box, whole: Box) -> bool:
    return whole[0] <= box[0] < box[2] <= whole[2] and whole[1] <= box[1] < box[3] <= whole[3]
