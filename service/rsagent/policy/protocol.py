"""The policy's side of the loop: messages in, a stream of text out.

A history is a tuple of messages to which turns only ever append, so that an engine's prefix cache covers all that
came before. An image part is named by the hash of its pixels: an engine that has seen it need not be sent it again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rsagent.deadline import Deadline
from rsagent.geometry import Size, view_size

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class TextPart:
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class ImagePart:
    """A view: `pixels` is uint8 [h, w, 3] RGB at the policy's input resolution; `uuid` the hash of its content."""

    uuid: str
    pixels: NDArray[np.uint8] = field(repr=False)


Part = TextPart | ImagePart


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, role: Role, *parts: Part | str) -> Message:
        """A message from parts; a plain string is a text part."""
        return cls(role, tuple(TextPart(part) if isinstance(part, str) else part for part in parts))

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))


History = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample a turn. `temperature` 0 is greedy. `stop` strings end the turn and are kept in its text."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    logprobs: bool = False


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of a turn's text."""

    text: str


@dataclass(frozen=True, slots=True)
class PolicyTurn:
    """A whole turn. `logprobs` are natural logarithms, one a sampled token; both tuples are empty unless asked for."""

    text: str
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    finish: Literal["stop", "length"] = "stop"
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """How large a policy wants its views: see `geometry.view_size`."""

    max_pixels: int
    factor: int = 32
    min_pixels: int = 0

    def size(self, width: int, height: int) -> Size:
        return view_size(width, height, self.max_pixels, self.factor, self.min_pixels)


class Policy(Protocol):
    """A multimodal language model that plays episodes."""

    @property
    def name(self) -> str:
        """What it is called in answers and logs."""
        ...

    @property
    def dialect(self) -> str:
        """The registered name of the dialect it speaks (`rsagent.agent.dialects`)."""
        ...

    @property
    def view(self) -> ViewSpec: ...

    def act(
        self, history: History, sampling: Sampling, deadline: Deadline
    ) -> AsyncGenerator[TextDelta | PolicyTurn, None]:
        """Stream one assistant turn: any number of `TextDelta`, then exactly one `PolicyTurn` with the same text.

        Closing the iterator early frees the engine's slot. Raises PolicyError when the engine fails, Overloaded
        when its queue is full, DeadlineExceeded when `deadline` passes.
        """
        ...

    async def ready(self) -> bool:
        """Whether a turn could be served now."""
        ...

    async def close(self) -> None: ...


ChatMessage = dict[str, Any]
"""A message in the form that chat templates and OpenAI-compatible servers take."""
