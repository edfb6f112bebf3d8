"""Boxes and points in original-image pixels (float, `xyxy`, x2 and y2 exclusive), and the frames they are told in.

A *frame* is what the policy looks at: frame 0 shows the whole picture, each zoom opens another one that shows a
crop. A *view* is the frame at the policy's input resolution. A dialect's *coordinate frame* says how the numbers
of a view are spelled; the conversions to and from pixels live here and nowhere else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in original-image pixels; x1 < x2 and y1 < y2."""

Size = tuple[int, int]
"""width, height in pixels."""


@dataclass(frozen=True, slots=True)
class Point:
    """A click: x, y in original-image pixels; `positive` adds, otherwise it takes away."""

    x: float
    y: float
    positive: bool = True


@dataclass(frozen=True, slots=True)
class Frame:
    """Frame `index` shows `box` (original-image pixels, whole numbers) as a view of `view` = (width, height)."""

    index: int
    box: tuple[int, int, int, int]
    view: Size

    @property
    def size(self) -> Size:
        """Width and height of the crop, in original-image pixels."""
        x1, y1, x2, y2 = self.box
        return x2 - x1, y2 - y1


class CoordinateFrame(Protocol):
    """How a dialect spells a place inside a view."""

    @property
    def name(self) -> str: ...

    def limits(self, view: Size) -> tuple[float, float]:
        """The largest x and y that are still inside a view."""
        ...


@dataclass(frozen=True, slots=True)
class Normalised:
    """Integers 0–`top` over each side, both edges reachable: 0 is the left edge, `top` the right one."""

    top: int = 999

    @property
    def name(self) -> str:
        return f"0-{self.top}"

    def limits(self, view: Size) -> tuple[float, float]:
        return float(self.top), float(self.top)


@dataclass(frozen=True, slots=True)
class ViewPixels:
    """Pixels of the view itself, as Qwen2.5-VL speaks: 0 to width, 0 to height."""

    name: str = "view-pixels"

    def limits(self, view: Size) -> tuple[float, float]:
        return float(view[0]), float(view[1])


def to_image(x: float, y: float, frame: Frame, coordinates: CoordinateFrame) -> tuple[float, float]:
    """Spelled coordinates of a frame's view → original-image pixels."""
    top_x, top_y = coordinates.limits(frame.view)
    width, height = frame.size
    return frame.box[0] + x / top_x * width, frame.box[1] + y / top_y * height


def to_frame(x: float, y: float, frame: Frame, coordinates: CoordinateFrame, grid: int = 1) -> tuple[int, int]:
    """Original-image pixels → whole spelled coordinates, clamped to the view, on multiples of `grid` (or the edge)."""
    top_x, top_y = coordinates.limits(frame.view)
    width, height = frame.size
    return (
        _spell((x - frame.box[0]) / width * top_x, top_x, grid),
        _spell((y - frame.box[1]) / height * top_y, top_y, grid),
    )


def _spell(value: float, top: float, grid: int) -> int:
    return int(min(max(round(value / grid) * grid, 0), math.floor(top)))


def view_size(width: int, height: int, max_pixels: int, factor: int = 32, min_pixels: int = 0) -> Size:
    """The size at which a `width` × `height` crop is shown to the policy.

    Both sides are multiples of `factor`, the area lies within [`min_pixels`, `max_pixels`] and the aspect ratio
    is kept as nearly as that allows: the rule of Qwen-VL's image processors (`smart_resize`), so that an engine
    that applies it again changes nothing.
    """
    w, h = (max(factor, round(side / factor) * factor) for side in (width, height))
    if w * h > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        w, h = (max(factor, math.floor(side / shrink / factor) * factor) for side in (width, height))
    elif w * h < min_pixels:
        grow = math.sqrt(min_pixels / (width * height))
        w, h = (math.ceil(side * grow / factor) * factor for side in (width, height))
    return w, h


def clip_box(box: Box, width: int, height: int) -> Box:
    """The part of `box` inside a `width` × `height` picture; may be empty."""
    x1, y1, x2, y2 = box
    return min(max(x1, 0.0), width), min(max(y1, 0.0), height), min(max(x2, 0.0), width), min(max(y2, 0.0), height)


def whole_box(box: Box, width: int, height: int, least: int = 8) -> tuple[int, int, int, int]:
    """`box` grown to whole pixels and to at least `least` pixels a side, inside the picture."""
    x1, x2 = _span(box[0], box[2], width, least)
    y1, y2 = _span(box[1], box[3], height, least)
    return x1, y1, x2, y2


def _span(low: float, high: float, limit: int, least: int) -> tuple[int, int]:
    start, end = math.floor(low), math.ceil(high)
    lacking = max(0, min(least, limit) - (end - start))
    start, end = start - lacking // 2, end + (lacking + 1) // 2
    shift = max(0, -start) - max(0, end - limit)
    return max(0, start + shift), min(limit, end + shift)
