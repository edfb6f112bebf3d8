"""Where objects lie to each other, with margins wide enough that nobody would argue.

All lengths are px of the scene; boxes are xyxy. Every rule answers None or an empty list rather than
a choice that a person could see otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from rsagent.training.world.scene import Placed

Extreme = Literal["left", "right", "top", "bottom", "big", "small"]
Side = Literal["left", "right", "above", "below", "near"]
EXTREMES: tuple[Extreme, ...] = ("left", "right", "top", "bottom", "big", "small")
SIDES: tuple[Side, ...] = ("left", "right", "above", "below", "near")
APART = 0.12  # of the scene's extent: how far two centres must differ to be told apart
AREA_RATIO = 1.8
NEAR = 0.15  # of the scene's shorter side: the widest gap that is still "next to"


def centre(placed: Placed) -> tuple[float, float]:
    """Middle of the box, x and y."""
    x1, y1, x2, y2 = placed.box
    return (x1 + x2) / 2, (y1 + y2) / 2


def gap(one: Placed, other: Placed) -> float:
    """Distance between two boxes, 0 when they touch."""
    a, b = one.box, other.box
    across = max(a[0] - b[2], b[0] - a[2], 0.0)
    down = max(a[1] - b[3], b[1] - a[3], 0.0)
    return float((across**2 + down**2) ** 0.5)


def extreme(objects: Sequence[Placed], group: Sequence[int], which: Extreme) -> int | None:
    """The one of a group that is clearly the leftmost, biggest, ...; None when that is arguable."""
    if len(group) < 2:
        return None
    height, width = objects[group[0]].mask.shape
    if which in ("big", "small"):
        area = {i: int(objects[i].mask.sum()) for i in group}
        return _ahead(group, lambda i: area[i], which == "big", lambda best, next_: _ratio(best, next_) >= AREA_RATIO)
    axis, extent = (0, width) if which in ("left", "right") else (1, height)
    return _ahead(
        group,
        lambda i: centre(objects[i])[axis],
        which in ("right", "bottom"),
        lambda best, next_: abs(best - next_) >= APART * extent,
    )


def _ratio(one: float, other: float) -> float:
    return max(one, other) / max(min(one, other), 1.0)


def _ahead(
    group: Sequence[int], key: Callable[[int], float], top: bool, clear: Callable[[float, float], bool]
) -> int | None:
    first, second = sorted(group, key=key, reverse=top)[:2]
    return first if clear(key(first), key(second)) else None


def beside(objects: Sequence[Placed], group: Sequence[int], anchor: int, side: Side) -> int | None:
    """The only one of a group that lies on a side of the anchor, under the strict and the loose reading alike."""
    others = [i for i in group if i != anchor]
    if side == "near":
        return _nearest(objects, others, anchor)
    loose = [i for i in others if _on_side(objects[i], objects[anchor], side)]
    return loose[0] if len(loose) == 1 and _squarely(objects[loose[0]], objects[anchor], side) else None


def _on_side(placed: Placed, anchor: Placed, side: Side) -> bool:
    """Loosely: the centre lies on that side of the anchor's centre, however little."""
    (x, y), (ax, ay) = centre(placed), centre(anchor)
    return {"left": x < ax, "right": x > ax, "above": y < ay, "below": y > ay}[side]


def _squarely(placed: Placed, anchor: Placed, side: Side) -> bool:
    """Strictly: the whole box lies beyond the anchor's centre, its centre beyond the anchor's edge and within 45°."""
    axis, sign = (0 if side in ("left", "right") else 1), (-1 if side in ("left", "above") else 1)
    middle, around = centre(placed), centre(anchor)
    inner = placed.box[axis + 2] if sign < 0 else placed.box[axis]
    edge = anchor.box[axis] if sign < 0 else anchor.box[axis + 2]
    beyond = sign * (inner - around[axis]) >= 0 and sign * (middle[axis] - edge) >= 0
    return beyond and abs(middle[1 - axis] - around[1 - axis]) <= sign * (middle[axis] - around[axis])


def _nearest(objects: Sequence[Placed], others: Sequence[int], anchor: int) -> int | None:
    if not others:
        return None
    gaps = sorted((gap(objects[i], objects[anchor]), i) for i in others)
    short = min(objects[anchor].mask.shape)
    alone = len(gaps) == 1 or gaps[1][0] >= max(2.5 * gaps[0][0], 0.2 * short)
    return gaps[0][1] if alone and gaps[0][0] <= NEAR * short else None
