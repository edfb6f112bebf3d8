"""What a running episode tells whoever watches: a closed union, in the order of the API's server-sent events."""

from __future__ import annotations

from dataclasses import dataclass, field

from rsagent.agent.state import EpisodeResult, MaskRecord, Turn
from rsagent.geometry import Frame
from rsagent.policy.protocol import ImagePart


@dataclass(frozen=True, slots=True)
class ThoughtDelta:
    """The next piece of the policy's text in turn `turn`, as it is sampled (thought and call alike)."""

    turn: int
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class ActionTaken:
    """Turn `turn.index` was parsed; its tool, if it has one, is about to run."""

    turn: Turn


@dataclass(frozen=True, slots=True, eq=False)
class MaskProposed:
    """The segmenter answered. `overlay` is what the policy sees next."""

    turn: Turn
    mask: MaskRecord
    overlay: ImagePart = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class FrameOpened:
    """A zoom opened a frame. `view` is what the policy sees next."""

    turn: Turn
    frame: Frame
    view: ImagePart = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Remark:
    """The turn was answered by words alone: a malformed, repeated or impossible call. The episode goes on or stops."""

    turn: Turn


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """The last event of every episode that was not torn down."""

    result: EpisodeResult


Event = ThoughtDelta | ActionTaken | MaskProposed | FrameOpened | Remark | Ended
