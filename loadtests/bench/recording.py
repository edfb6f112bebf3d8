"""Episodes recorded once, so that every contender does exactly the same work.

A recording holds the picture, the request, and of each turn the prompt (text and views), the token ids that are
generated, and what the segmenter is asked. Its masks and overlays are real: the segmenter decodes while recording.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from loadtests.bench import script
from rsagent import imaging
from rsagent.agent.dialects.protocol import Dialect
from rsagent.agent.episode import begin, prompt_of, step
from rsagent.agent.state import Budget, EpisodeState, Task
from rsagent.policy.protocol import History, PolicyTurn, ViewSpec
from rsagent.policy.textstream import TextStream
from rsagent.segmenter.core import Decoded, Embedding, InputFrame, LowResCandidate
from rsagent.segmenter.fake import filled
from rsagent.segmenter.protocol import (
    Image,
    ImageId,
    MaskCandidate,
    Prompt,
    SegmentResult,
    image_id,
)
from rsagent.settings import ImageLimits


@dataclass(frozen=True, slots=True, eq=False)
class RecordedTurn:
    """`history` is what the policy reads, `ids` what it generates (`pieces` is their text, token by token), `prompt`
    what the segmenter is then asked, in original-image pixels."""

    history: History = field(repr=False)
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    prompt: Prompt = field(repr=False)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """An episode. `file` is the JPEG that a client sends, `image` its pixels, uint8 [H, W, 3] RGB."""

    number: int
    file: bytes = field(repr=False)
    image: Image = field(repr=False)
    image_id: ImageId
    query: str
    turns: tuple[RecordedTurn, ...]


class Core(Protocol):
    """What recording asks of a segmenter: see `rsagent.segmenter.core.SamCore`."""

    def encode(self, image: Image) -> Embedding: ...

    def decode(self, requests: Sequence[tuple[Embedding, Prompt]]) -> list[Decoded]: ...


class Sketch:
    """Fills boxes, at no cost. For segmenters whose encoder takes seconds: what a mask shows costs nobody anything,
    and those who play the recording decode their own. `mask_side` is that of the segmenter's logits."""

    def __init__(self, mask_side: int) -> None:
        self._side = mask_side

    def encode(self, image: Image) -> Embedding:
        """Nothing but the picture's size."""
        return Embedding((torch.zeros(0),), InputFrame.of(image.shape[0], image.shape[1], 4 * self._side))

    def decode(self, requests: Sequence[tuple[Embedding, Prompt]]) -> list[Decoded]:
        """The prompts' boxes, filled."""
        logits = np.full((self._side, self._side), -1.0, np.float32)
        logits[self._side // 4 : self._side // 2] = 1.0
        low = (LowResCandidate(logits, 0.9),)
        frames = [(embedding.frame, prompt) for embedding, prompt in requests]
        return [Decoded(MaskCandidate(filled(at.height, at.width, asked), logits, 0.9), low) for at, asked in frames]


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """What recording takes: how the policy is spoken to, its tokenizer (a `tokenizers.Tokenizer`), a segmenter."""

    dialect: Dialect
    view: ViewSpec
    tokenizer: Any
    core: Core


def record(stage: Stage, number: int, turns: int, *, megapixel: bool = False) -> Recording:
    """Episode `number`, of exactly `turns` turns."""
    file, query = script.picture(number, megapixel=megapixel), script.query(number)
    image = imaging.decode(file, ImageLimits())
    task = Task(image, image_id(image), query, stage.view, Budget(turns=turns))
    state, embedding = begin(task, stage.dialect), stage.core.encode(image)
    made: list[RecordedTurn] = []
    while state.stop is None:
        turn, state = _turn(stage, number, state, embedding)
        made.append(turn)
    assert len(made) == turns, "the turn budget ends every episode of the script"
    return Recording(number, file, image, task.image_id, query, tuple(made))


def _turn(stage: Stage, number: int, state: EpisodeState, embedding: Embedding) -> tuple[RecordedTurn, EpisodeState]:
    text = stage.dialect.write(*script.move(number, state), state)
    reading = stage.dialect.parse(text, state)
    prompt = prompt_of(state, reading.action)
    assert prompt is not None, "every turn of the script asks the segmenter something new"
    [decoded] = stage.core.decode([(embedding, prompt)])
    answer = SegmentResult(decoded.best, not state.turns, 0.0, 0.0, 1)
    ids = tuple(stage.tokenizer.encode(text, add_special_tokens=False).ids)
    turn = RecordedTurn(state.history, ids, _pieces(stage.tokenizer, ids, text), prompt)
    return turn, step(state, stage.dialect, PolicyTurn(text), reading, answer).state


def _pieces(tokenizer: Any, ids: Sequence[int], text: str) -> tuple[str, ...]:
    stream = TextStream(tokenizer, ())
    pieces = [stream.push(token) for token in ids]
    assert "".join(pieces) == text, "the tokenizer gives the script's text back"
    return tuple(pieces)


class Library:
    """Recordings in a folder, written by one process and read by the contenders' own.

    The files are pickles: ours alone, in a folder of ours, and gone with the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, recording: Recording) -> None:
        # Its pixels are in its file.
        self._path(recording.number).write_bytes(pickle.dumps(replace(recording, image=recording.image[:0])))

    def get(self, number: int) -> Recording:
        """The recording of that number."""
        found = self._read(number)
        return replace(found, image=imaging.decode(found.file, ImageLimits()))

    def several(self, numbers: Iterable[int]) -> list[Recording]:
        return [self.get(number) for number in numbers]

    def turn(self, number: int, place: int) -> RecordedTurn:
        """Turn `place` (from 0) of an episode, for those who come back for each turn."""
        return self._kept(number)[place]

    @lru_cache(maxsize=64)  # noqa: B019  as long-lived as the process
    def _kept(self, number: int) -> tuple[RecordedTurn, ...]:
        return self._read(number).turns  # without its picture: who has engines that take no time must not decode it

    def _read(self, number: int) -> Recording:
        found = pickle.loads(self._path(number).read_bytes())
        assert isinstance(found, Recording)
        return found

    def _path(self, number: int) -> Path:
        return self.folder / f"{number}.recording"
