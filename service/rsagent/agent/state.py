"""What an episode is made of: immutable values, the picture and its masks among them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from rsagent.agent.actions import Action
from rsagent.errors import RSAgentError
from rsagent.geometry import Box, Frame
from rsagent.policy.protocol import History, PolicyTurn, ViewSpec
from rsagent.segmenter.protocol import ImageId, Logits, Mask


class StopReason(StrEnum):
    """Why an episode ended. The values are metric labels and part of the API."""

    FINISHED = "finished"
    NO_TARGET = "no_target"
    TURN_BUDGET = "turn_budget"
    MALFORMED_BUDGET = "malformed_budget"
    REPEAT = "repeat"
    CONTEXT_BUDGET = "context_budget"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    ENGINE_ERROR = "engine_error"


@dataclass(frozen=True, slots=True)
class Budget:
    """How much an episode may take. `malformed` and `repeats` are the counts at which it stops; `zooms` the frames
    that may be opened, None for any number."""

    turns: int = 8
    malformed: int = 3
    repeats: int = 2
    points: int = 16
    zooms: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What is asked: `image` uint8 [H, W, 3] RGB, its content id, the sentence, the budget, the policy's view size."""

    image: NDArray[np.uint8] = field(repr=False)
    image_id: ImageId
    query: str
    view: ViewSpec
    budget: Budget = Budget()

    @property
    def width(self) -> int:
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        return int(self.image.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class MaskRecord:
    """A mask the segmenter gave. `mask` bool [H, W] of the original image; `logits` low-resolution, to refine it by;
    `box` is tight around it; `score` the predicted IoU; `area` in pixels. An empty mask keeps its prompt's box."""

    mask_id: int
    turn: int
    frame: int
    mask: Mask = field(repr=False)
    logits: Logits = field(repr=False)
    score: float
    box: Box
    area: int


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds of one turn, by stage."""

    policy: float = 0.0
    segmenter: float = 0.0
    render: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One turn, whole. `index` counts from 1; `mask_id` is the mask it made, if any; `given` if no policy chose it."""

    index: int
    reply: PolicyTurn
    thought: str
    action: Action
    observation: str = ""
    mask_id: int | None = None
    frame: int | None = None
    repeated: bool = False
    encoded: bool = False
    given: bool = False
    timings: Timings = Timings()


@dataclass(frozen=True, slots=True, eq=False)
class EpisodeState:
    """Everything known so far. `history` only ever grows at its end."""

    task: Task
    frames: tuple[Frame, ...]
    history: History = field(repr=False)
    masks: tuple[MaskRecord, ...] = ()
    turns: tuple[Turn, ...] = ()
    stop: StopReason | None = None

    @property
    def last_frame(self) -> Frame:
        """The frame an action speaks of unless it names another: the latest image shown."""
        shown = next((turn.frame for turn in reversed(self.turns) if turn.frame is not None), 0)
        return self.frames[shown]

    def mask(self, mask_id: int) -> MaskRecord | None:
        """The mask of that id (ids count from 1), or None."""
        return self.masks[mask_id - 1] if 1 <= mask_id <= len(self.masks) else None


@dataclass(frozen=True, slots=True, eq=False)
class EpisodeResult:
    """How it ended. `masks` are the submitted objects (the latest mask where a budget ended it), `complete` whether
    the policy itself said so; `error` is what an `engine_error` or a `deadline` came from."""

    state: EpisodeState
    stop: StopReason
    masks: tuple[MaskRecord, ...]
    error: RSAgentError | None = None

    @property
    def complete(self) -> bool:
        return self.stop in (StopReason.FINISHED, StopReason.NO_TARGET)

    @property
    def status(self) -> str:
        """`segmented`, `no_target` or `incomplete`, as the API answers."""
        if self.stop is StopReason.NO_TARGET:
            return "no_target"
        return "segmented" if self.stop is StopReason.FINISHED else "incomplete"

    @property
    def union(self) -> Mask:
        """bool [H, W]: all submitted masks together; empty where there is none."""
        union = np.zeros((self.state.task.height, self.state.task.width), dtype=np.bool_)
        for record in self.masks:
            union |= record.mask
        return union
