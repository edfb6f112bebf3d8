"""What an agent did about a request, however it was asked: in this process, or over the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from rsagent.api.answers import ActionDocument, SegmentAnswer, TurnDocument, TurnTokens
from rsagent.segmenter.protocol import Mask

NO_TOKENS = TurnTokens(prompt=0, cached=0, completion=0)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A turn: its thought, its action as the API tells it (boxes and points in pixels of the picture), what the
    policy was told, and the mask bool [H, W] that the turn made, if any."""

    thought: str
    action: ActionDocument
    observation: str = ""
    mask: Mask | None = field(default=None, repr=False)
    tokens: TurnTokens = NO_TOKENS


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """A whole answer. `stop` is a `StopReason`; `submitted` bool [H, W] is all submitted objects together, empty
    where there is none; `encodes` counts image encodings. `error` says why there is no answer: it scores nothing."""

    stop: str
    submitted: Mask = field(repr=False)
    steps: tuple[Step, ...] = ()
    encodes: int = 0
    seconds: float = 0.0
    error: str | None = None

    @classmethod
    def found(cls, mask: Mask, seconds: float = 0.0) -> Self:
        """The answer of something that gives a mask and tells no story, such as a model to compare with."""
        return cls("finished", mask, seconds=seconds)

    @classmethod
    def absent(cls, height: int, width: int, seconds: float = 0.0) -> Self:
        """The answer that nothing in the picture is meant."""
        return cls("no_target", np.zeros((height, width), dtype=np.bool_), seconds=seconds)

    @classmethod
    def failed(cls, error: str, height: int, width: int, seconds: float = 0.0) -> Self:
        """No answer."""
        return cls("error", np.zeros((height, width), dtype=np.bool_), seconds=seconds, error=error)


def attempt_of(
    document: SegmentAnswer, submitted: Mask, masks: Mapping[int, Mask], seconds: float, error: str | None = None
) -> Attempt:
    """An attempt from the API's answer; `masks` are those of its turns by id."""
    steps = tuple(_step(turn, masks) for turn in document.turns)
    return Attempt(document.stop_reason.value, submitted, steps, document.usage.image_encodes, seconds, error)


def _step(turn: TurnDocument, masks: Mapping[int, Mask]) -> Step:
    mask = None if turn.mask_id is None else masks.get(turn.mask_id)
    return Step(turn.thought or "", turn.action, turn.observation, mask, turn.tokens)
