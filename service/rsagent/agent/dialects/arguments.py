"""From a JSON call to an action in original-image pixels. Every failure is a `Malformed` that names what is valid."""

from __future__ import annotations

import json
from typing import Any

from rsagent.agent.actions import Action, Finish, Malformed, MalformedKind, NoTarget, Segment, Zoom
from rsagent.agent.dialects.text import excerpt
from rsagent.agent.state import EpisodeState
from rsagent.geometry import Box, CoordinateFrame, Frame, Point, to_image

_TOOLS = ("segment", "zoom", "finish", "report_no_target")
_REASON = 500
_SANE = 1e9


class _Invalid(Exception):
    """Raised and caught in this module only: it carries the `Malformed` out of nested readers."""

    def __init__(self, kind: MalformedKind, advice: str) -> None:
        super().__init__(advice)
        self.kind = kind
        self.advice = advice


def read_call(call: dict[str, Any], state: EpisodeState, coordinates: CoordinateFrame) -> Action:
    """The action that a call names, with its places in original-image pixels, or `Malformed`."""
    try:
        return _Reader(_arguments(call), state, coordinates).read(call.get("name"))
    except _Invalid as invalid:
        return Malformed(invalid.kind, excerpt(json.dumps(call)), invalid.advice)


def _arguments(call: dict[str, Any]) -> dict[str, Any]:
    arguments = call.get("arguments", call.get("parameters", {}))
    if not isinstance(arguments, dict):
        raise _Invalid(MalformedKind.BAD_ARGUMENTS, '"arguments" must be a JSON object.')
    return arguments


class _Reader:
    """Reads one call's arguments against the state they speak of."""

    def __init__(self, arguments: dict[str, Any], state: EpisodeState, coordinates: CoordinateFrame) -> None:
        self.arguments = arguments
        self.state = state
        self.coordinates = coordinates

    def read(self, name: object) -> Action:
        match name:
            case "segment":
                return self._segment()
            case "zoom":
                frame = self._frame()
                return Zoom(self._box("bbox_2d", frame), frame.index)
            case "finish":
                return Finish(self._mask_ids())
            case "report_no_target":
                return NoTarget(str(self.arguments.get("reason", ""))[:_REASON])
        raise _Invalid(MalformedKind.UNKNOWN_TOOL, f"There is no such tool; the tools are {', '.join(_TOOLS)}.")

    def _segment(self) -> Segment:
        frame = self._frame()
        bbox = self._box("bbox_2d", frame) if self.arguments.get("bbox_2d") is not None else None
        points = self._points(frame)
        if bbox is None and not points:
            raise _Invalid(MalformedKind.BAD_ARGUMENTS, 'segment needs "bbox_2d", "points", or both.')
        base = self.arguments.get("mask_id")
        return Segment(bbox, points, None if base is None else self._mask_id(base), frame.index)

    def _frame(self) -> Frame:
        index = self.arguments.get("frame")
        if index is None:
            return self.state.last_frame
        if type(index) is not int or not 0 <= index < len(self.state.frames):
            last = len(self.state.frames) - 1
            raise _Invalid(MalformedKind.UNKNOWN_FRAME, f'"frame" must be a whole number from 0 to {last}.')
        return self.state.frames[index]

    def _box(self, key: str, frame: Frame) -> Box:
        values = _numbers(self.arguments.get(key), 4)
        if values is None:
            raise _Invalid(MalformedKind.BAD_ARGUMENTS, f'"{key}" must be four finite numbers [x1, y1, x2, y2].')
        x1, y1 = self._place(values[0], values[1], frame)
        x2, y2 = self._place(values[2], values[3], frame)
        if not (x1 < x2 and y1 < y2):
            raise _Invalid(MalformedKind.BAD_ARGUMENTS, f'"{key}" must have x1 < x2 and y1 < y2.')
        return x1, y1, x2, y2

    def _points(self, frame: Frame) -> tuple[Point, ...]:
        points = self.arguments.get("points")
        if points is None:
            return ()
        most = self.state.task.budget.points
        if not isinstance(points, list) or len(points) > most:
            raise _Invalid(MalformedKind.BAD_ARGUMENTS, f'"points" must be a list of at most {most} [x, y, label].')
        return tuple(self._point(point, frame) for point in points)

    def _point(self, point: object, frame: Frame) -> Point:
        values = _numbers(point, 3)
        if values is None or values[2] not in (0.0, 1.0):
            raise _Invalid(MalformedKind.BAD_ARGUMENTS, "A point is [x, y, label] with label 1 (add) or 0 (take away).")
        x, y = self._place(values[0], values[1], frame)
        return Point(x, y, values[2] == 1.0)

    def _place(self, x: float, y: float, frame: Frame) -> tuple[float, float]:
        top_x, top_y = self.coordinates.limits(frame.view)
        if not (0 <= x <= top_x and 0 <= y <= top_y):
            advice = f"Coordinates run from 0 to {top_x:g} (x) and 0 to {top_y:g} (y)."
            raise _Invalid(MalformedKind.OUT_OF_BOUNDS, advice)
        return to_image(x, y, frame, self.coordinates)

    def _mask_ids(self) -> tuple[int, ...]:
        ids = self.arguments.get("mask_ids", self.arguments.get("mask_id"))
        listed = ids if isinstance(ids, list) else [ids]
        if not listed or len(listed) > len(self.state.masks):
            raise self._unknown_mask()
        return tuple(dict.fromkeys(self._mask_id(mask_id) for mask_id in listed))

    def _mask_id(self, mask_id: object) -> int:
        if type(mask_id) is not int or self.state.mask(mask_id) is None:
            raise self._unknown_mask()
        return mask_id

    def _unknown_mask(self) -> _Invalid:
        count = len(self.state.masks)
        known = f"the mask ids are 1 to {count}." if count else "there is no mask yet: call segment first."
        return _Invalid(MalformedKind.UNKNOWN_MASK, f"Unknown mask id; {known}")


def _numbers(values: object, count: int) -> list[float] | None:
    """`values` as floats if it is a list of `count` sane numbers; an int too large for a float is none."""
    if not isinstance(values, list) or len(values) != count:
        return None
    sane = (type(value) in (int, float) and abs(value) < _SANE for value in values)
    return [float(value) for value in values] if all(sane) else None
