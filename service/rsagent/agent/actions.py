"""What a policy may do in a turn: a closed union of frozen types.

Coordinates have already left their dialect: boxes and points are original-image pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from rsagent.geometry import Box, Point


@dataclass(frozen=True, slots=True)
class Segment:
    """Ask for a mask by a box, by points, or both; `base_mask` refines that earlier mask."""

    bbox: Box | None = None
    points: tuple[Point, ...] = ()
    base_mask: int | None = None
    frame: int = 0


@dataclass(frozen=True, slots=True)
class Zoom:
    """Open a new frame that shows `bbox` at full resolution."""

    bbox: Box
    frame: int = 0


@dataclass(frozen=True, slots=True)
class Finish:
    """Submit these masks; several ids are several objects."""

    mask_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NoTarget:
    """The picture holds nothing that the request means."""

    reason: str = ""


class MalformedKind(StrEnum):
    """Why a turn is no action. The values are metric labels."""

    NO_CALL = "no_call"
    BAD_JSON = "bad_json"
    UNKNOWN_TOOL = "unknown_tool"
    BAD_ARGUMENTS = "bad_arguments"
    OUT_OF_BOUNDS = "out_of_bounds"
    UNKNOWN_FRAME = "unknown_frame"
    UNKNOWN_MASK = "unknown_mask"


@dataclass(frozen=True, slots=True)
class Malformed:
    """Text that is no valid action. `excerpt` is at most 200 characters of it; `advice` tells the policy what is
    valid."""

    kind: MalformedKind
    excerpt: str
    advice: str


Action = Segment | Zoom | Finish | NoTarget | Malformed


def tool_name(action: Action) -> str:
    """The tool's name as policies, metrics and answers spell it."""
    match action:
        case Segment():
            return "segment"
        case Zoom():
            return "zoom"
        case Finish():
            return "finish"
        case NoTarget():
            return "report_no_target"
        case Malformed():
            return "malformed"
        case _:
            assert_never(action)
