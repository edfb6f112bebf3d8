"""What a dialect must be able to say and to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rsagent.agent.actions import Action
from rsagent.agent.state import Budget, EpisodeState, MaskRecord, Task
from rsagent.geometry import CoordinateFrame, Frame


@dataclass(frozen=True, slots=True)
class Reading:
    """A reply, read: the thought (may be empty) and the action. `given`: it stood before the policy began."""

    thought: str
    action: Action
    given: bool = False


class Dialect(Protocol):
    """One wording of the protocol and one spelling of places."""

    @property
    def name(self) -> str: ...

    @property
    def coordinates(self) -> CoordinateFrame: ...

    @property
    def stop(self) -> tuple[str, ...]:
        """Strings after which a turn is over."""
        ...

    def system(self, budget: Budget) -> str: ...

    def opening(self, task: Task) -> str:
        """The user's first words, beside the picture."""
        ...

    def parse(self, text: str, state: EpisodeState) -> Reading:
        """Never raises: text that is no valid action becomes `Malformed`."""
        ...

    def write(self, thought: str, action: Action, state: EpisodeState) -> str:
        """The reply that `parse` reads back as this action (an expert's turn)."""
        ...

    def place(self, x: float, y: float, frame: Frame) -> str:
        """A point of the original picture as a thought may name it: "[312, 480]", in this dialect's coordinates."""
        ...

    def observe_mask(self, record: MaskRecord, frame: Frame, task: Task, left: int) -> str: ...

    def observe_frame(self, frame: Frame, left: int) -> str: ...

    def observe_remark(self, advice: str, left: int) -> str: ...
