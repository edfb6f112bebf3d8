"""`start`: where an episode begins, in the terms of an answer's turns, so that they can be sent back as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from rsagent.agent.actions import Segment, Zoom
from rsagent.agent.given import Given
from rsagent.geometry import Point

MOST = 64
"""Moves a request may begin with."""

BoxGiven = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
PointGiven = tuple[FiniteFloat, FiniteFloat, Literal[0, 1]]


class _Move(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    frame: int = Field(0, ge=0, description="The frame it speaks of; 0 is the whole image.")
    thought: str | None = Field(
        None, max_length=4000, description="What the policy thought when it made the move; left out: the user made it."
    )


class StartSegment(_Move):
    """A mask asked for by a box, by points, or both, in pixels of the picture."""

    tool: Literal["segment"]
    bbox: BoxGiven | None = None
    points: tuple[PointGiven, ...] = Field((), description="x, y, and 1 inside or 0 outside.")
    base_mask: int | None = Field(None, ge=1, description="The mask it refines: 1 is the first that `start` makes.")


class StartZoom(_Move):
    """A look closer at a part of the picture."""

    tool: Literal["zoom"]
    bbox: BoxGiven


StartMove = Annotated[StartSegment | StartZoom, Field(discriminator="tool")]


def moves(start: Sequence[StartSegment | StartZoom]) -> tuple[Given, ...]:
    """The moves as the episode takes them. Whether they can be made is `agent.given.check`'s to say."""
    return tuple(Given(_action(move), move.thought) for move in start)


def _action(move: StartSegment | StartZoom) -> Segment | Zoom:
    if isinstance(move, StartZoom):
        return Zoom(move.bbox, move.frame)
    points = tuple(Point(x, y, label == 1) for x, y, label in move.points)
    return Segment(move.bbox, points, move.base_mask, move.frame)
