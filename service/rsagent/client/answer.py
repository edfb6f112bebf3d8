"""What a call gives back: answers and events, with masks as arrays. Coordinates are pixels of the upright picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from rsagent.api.answers import (
    EVENTS,
    AcceptedEvent,
    ActionEvent,
    MaskEvent,
    ObjectDocument,
    Picture,
    RequestTimings,
    SegmentAnswer,
    ThoughtEvent,
    TurnDocument,
    Usage,
)
from rsagent.client.onward import Box, Click, Prompt, nearest, prompts_of
from rsagent.client.painting import Pixels, paint
from rsagent.masks.codecs import decode_mask

Mask = NDArray[np.bool_]
"""bool [H, W] of the original picture."""

Accepted = AcceptedEvent
Thought = ThoughtEvent
Action = ActionEvent


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """An object: its `mask` bool [H, W], the box x1, y1, x2, y2 around it, its area in pixels, and the segmenter's own
    estimate of its IoU."""

    mask_id: int
    mask: Mask = field(repr=False)
    bbox: tuple[float, float, float, float]
    area: int
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Proposed:
    """A turn made a mask, which later turns may correct. `overlay` is what the policy sees next, if asked for."""

    turn: int
    found: Found
    observation: str
    overlay: Picture | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The answer; the last event of a stream. `document` is the service's own JSON document."""

    document: SegmentAnswer = field(repr=False)
    objects: tuple[Found, ...]

    @property
    def id(self) -> str:
        """The request's id."""
        return self.document.id

    @property
    def status(self) -> Literal["segmented", "no_target", "incomplete"]:
        """`incomplete`: a limit ended it, and `objects` holds the best guess, if there is one."""
        return self.document.status

    @property
    def stop_reason(self) -> str:
        return self.document.stop_reason.value

    @property
    def turns(self) -> list[TurnDocument]:
        return self.document.turns

    @property
    def timings_ms(self) -> RequestTimings:
        return self.document.timings_ms

    @property
    def usage(self) -> Usage:
        return self.document.usage

    @property
    def mask(self) -> Mask:
        """bool [H, W]: all objects together; empty where there is none."""
        size = self.document.image
        union = np.zeros((size.height, size.width), dtype=np.bool_)
        for found in self.objects:
            union |= found.mask
        return union

    def overlay(self, image: Pixels, alpha: float = 0.5) -> Pixels:
        """`image` (uint8 [H, W, 3] RGB, upright) with each object filled in a colour of its own and outlined."""
        return paint(image, [found.mask for found in self.objects], alpha)

    def then(self, points: Sequence[Click] = (), bbox: Box | None = None) -> list[dict[str, Any]]:
        """The `start` of a request that goes on from here: this answer's objects as they were asked for, and yours.

        `points`, (x, y, 1 inside or 0 outside), correct the object they are nearest to; a `bbox` asks for another one.
        Needs the turns: do not leave them out by `include`.
        """
        prompts, size = prompts_of(self.turns), self.document.image
        corrected = None if bbox is not None else nearest(self.document.objects, points)
        kept = [prompts[found.mask_id].move() for found in self.objects if found.mask_id != corrected]
        mine = Prompt(bbox) if corrected is None else prompts[corrected]
        return [*kept, mine.pointed(points, size.width, size.height).move()]


Event = Accepted | Thought | Action | Proposed | Answer
"""What a stream yields, in the order of the API's events; `Answer` is the last."""


def answer_of(document: SegmentAnswer) -> Answer:
    """The answer with its masks decoded. Takes CPU time in proportion to the pixels."""
    return Answer(document, tuple(_found(one) for one in document.objects))


def event_of(name: str, data: str) -> Event | None:
    """The event that a stream told; None for one that this client does not know.

    Raises pydantic's ValidationError and BadRequest for data that is no such event.
    """
    model: type[BaseModel] | None = EVENTS.get(name)
    if model is None:
        return None
    document = model.model_validate_json(data)
    match document:
        case SegmentAnswer():
            return answer_of(document)
        case MaskEvent():
            return Proposed(document.turn, _found(document), document.observation, document.overlay)
        case AcceptedEvent() | ThoughtEvent() | ActionEvent():
            return document
        case _:
            return None


def _found(document: ObjectDocument) -> Found:
    return Found(document.mask_id, decode_mask(document.mask), document.bbox, document.area, document.score)
