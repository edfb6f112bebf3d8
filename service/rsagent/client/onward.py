"""Going on from an answer: what its masks were asked for by, and a user's points put to it.

A mask may have come of a chain of refinements. Its whole prompt, the box and every point of the chain, says the same
in one move, and says it to a policy that then has one good mask before it, and not the story of how it was wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rsagent.api.answers import ObjectDocument, SegmentAction, TurnDocument

Box = tuple[float, float, float, float]
Click = tuple[float, float, Literal[0, 1]]
"""x, y in pixels of the picture, and 1 inside or 0 outside."""

MARGIN = 0.02
"""How far beyond a positive point a box is grown to hold it, as a share of the picture's longer side."""
MOST = 16
"""Points that a move may have; the latest count."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """All that a mask was asked for by, and the thought behind it, which says what it is to be a mask of."""

    bbox: Box | None = None
    points: tuple[Click, ...] = ()
    thought: str | None = None

    def refined(self, action: SegmentAction, thought: str | None = None) -> Prompt:
        """This prompt and what `action` adds to it."""
        return Prompt(action.bbox or self.bbox, (*self.points, *action.points), thought or self.thought)

    def pointed(self, points: Sequence[Click], width: int, height: int) -> Prompt:
        """This prompt and a user's points; its box is grown to hold the positive ones."""
        box, margin = self.bbox, MARGIN * max(width, height)
        for x, y, label in points:
            if box is not None and label:
                left, top = min(box[0], max(0.0, x - margin)), min(box[1], max(0.0, y - margin))
                box = left, top, max(box[2], min(width, x + margin)), max(box[3], min(height, y + margin))
        return Prompt(box, (*self.points, *points), self.thought)

    def move(self) -> dict[str, Any]:
        """As an item of `start`."""
        box = {} if self.bbox is None else {"bbox": list(self.bbox)}
        thought = {} if self.thought is None else {"thought": self.thought}
        return {"tool": "segment", **box, "points": [list(point) for point in self.points[-MOST:]], **thought}


def prompts_of(turns: Sequence[TurnDocument]) -> dict[int, Prompt]:
    """The whole prompt of each mask that the turns made."""
    found: dict[int, Prompt] = {}
    for turn in turns:
        if turn.mask_id is not None and isinstance(turn.action, SegmentAction):
            base = found.get(turn.action.base_mask or 0, Prompt())
            found[turn.mask_id] = base.refined(turn.action, turn.thought)
    return found


def nearest(objects: Sequence[ObjectDocument], points: Sequence[Click]) -> int | None:
    """The mask id of the object that `points` are about: the one whose box is nearest to the first of them."""
    if not objects or not points:
        return None
    x, y = points[0][:2]

    def distance(found: ObjectDocument) -> float:
        x1, y1, x2, y2 = found.bbox
        return max(x1 - x, 0.0, x - x2) + max(y1 - y, 0.0, y - y2)

    return min(objects, key=distance).mask_id
