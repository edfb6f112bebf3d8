"""What clients are told: the documents of an answer and of a stream's events. Coordinates are original-image pixels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from rsagent.agent.actions import MalformedKind
from rsagent.agent.state import StopReason
from rsagent.masks.codecs import MaskDocument

BoxDocument = Annotated[tuple[float, float, float, float], Field(description="x1, y1, x2, y2; x2 and y2 exclusive.")]
PointDocument = Annotated[tuple[float, float, Literal[0, 1]], Field(description="x, y, and 1 inside or 0 outside.")]


def _sayable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


Words = Annotated[str, BeforeValidator(_sayable)]
"""What a policy wrote. Half a character (a lone surrogate), which an engine may send, becomes a question mark."""

Absent = Field(exclude_if=lambda value: value is None)
"""Left out where there is nothing to tell."""

GivenFlag = Annotated[
    bool,
    Field(
        exclude_if=lambda value: not value,
        description="It came with the request's `start`.",
    ),
]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True)


class SegmentAction(_Document):
    """The policy asks the segmenter for a mask."""

    tool: Literal["segment"] = "segment"
    bbox: BoxDocument | None = None
    points: list[PointDocument] = []
    base_mask: int | None = Field(None, description="The mask that this one refines.")
    frame: int = Field(0, description="The frame it speaks of; 0 is the whole image.")


class ZoomAction(_Document):
    """The policy looks closer: a new frame opens."""

    tool: Literal["zoom"] = "zoom"
    bbox: BoxDocument
    frame: int = 0


class FinishAction(_Document):
    """The policy submits masks."""

    tool: Literal["finish"] = "finish"
    mask_ids: list[int]


class NoTargetAction(_Document):
    """The policy says that the picture holds nothing of the kind."""

    tool: Literal["report_no_target"] = "report_no_target"
    reason: Words = ""


class MalformedAction(_Document):
    """The policy's text was no valid action; it was told `advice`."""

    tool: Literal["malformed"] = "malformed"
    kind: MalformedKind
    excerpt: Words
    advice: str


ActionDocument = Annotated[
    SegmentAction | ZoomAction | FinishAction | NoTargetAction | MalformedAction, Field(discriminator="tool")
]


class Picture(_Document):
    """A small JPEG."""

    media_type: Literal["image/jpeg"] = "image/jpeg"
    data: str = Field(description="Base64.")
    width: int
    height: int


class FrameDocument(_Document):
    """A frame that a zoom opened: its number, and the part of the image it shows."""

    index: int
    box: tuple[int, int, int, int]


class ImageSize(_Document):
    """The picture's size in pixels, upright (EXIF orientation applied)."""

    width: int
    height: int


class ObjectDocument(_Document):
    """One object that was found. `score` is the segmenter's own estimate of its IoU."""

    mask_id: int
    mask: MaskDocument
    bbox: BoxDocument
    area: int = Field(description="Pixels.")
    score: float


class StageTimings(_Document):
    """Milliseconds."""

    policy: float
    segmenter: float
    render: float


class RequestTimings(StageTimings):
    """Milliseconds; `queue` is the wait for a free place, `total` runs from arrival to the answer."""

    queue: float
    total: float


class TurnTokens(_Document):
    """Tokens of the policy; `cached` of the prompt's were not computed again."""

    prompt: int
    cached: int
    completion: int


class TurnDocument(_Document):
    """One turn of the policy. `mask_id` is the mask it made."""

    index: int
    thought: Words | None
    action: ActionDocument
    observation: Words
    mask_id: int | None
    given: GivenFlag = False
    timings_ms: StageTimings
    tokens: TurnTokens
    overlay: Annotated[Picture | None, Absent] = Field(None, description="What the policy saw next, if asked for.")


class Usage(_Document):
    """What the answer cost. `image_encodes` counts the segmenter's image encodings: 0 if it knew the picture."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    turns: int
    image_encodes: int


class SegmentAnswer(_Document):
    """The answer. `incomplete` means that a budget ended it: `objects` then holds the best guess, if there is one."""

    id: str = Field(description="The request's id.")
    status: Literal["segmented", "no_target", "incomplete"]
    stop_reason: StopReason
    image: ImageSize
    objects: list[ObjectDocument]
    turns: list[TurnDocument]
    timings_ms: RequestTimings
    usage: Usage


class AcceptedEvent(_Document):
    """First of a stream: the request is valid and has begun."""

    id: str
    image: ImageSize
    query: str
    max_turns: int
    deadline_ms: int


class ThoughtEvent(_Document):
    """The next piece of the policy's text in a turn, as it is sampled: thought and tool call alike."""

    turn: int
    text: Words


class ActionEvent(_Document):
    """A turn's text became an action. `frame` and `overlay` come with a zoom: what it opened."""

    turn: int
    given: GivenFlag = False
    thought: Annotated[Words | None, Absent] = None
    action: ActionDocument
    frame: Annotated[FrameDocument | None, Absent] = None
    overlay: Annotated[Picture | None, Absent] = None
    observation: Annotated[Words | None, Absent] = Field(
        None, description="What the policy is told, if no mask follows."
    )


class MaskEvent(ObjectDocument):
    """A turn made a mask: a hypothesis, which later turns may correct."""

    turn: int
    observation: Words
    overlay: Annotated[Picture | None, Absent] = None


EVENTS: dict[str, type[BaseModel]] = {
    "accepted": AcceptedEvent,
    "thought": ThoughtEvent,
    "action": ActionEvent,
    "mask": MaskEvent,
    "final": SegmentAnswer,
}
"""The data of each event of a stream, by its name; `error` carries a Problem."""
