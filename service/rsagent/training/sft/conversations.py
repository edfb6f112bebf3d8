"""Trajectories on disk as the histories that the served policy would have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from rsagent.agent import render
from rsagent.errors import CheckpointError
from rsagent.policy.checkpoint import Checkpoint
from rsagent.policy.prompt import PromptEncoder
from rsagent.policy.protocol import History, ImagePart, Message, TextPart
from rsagent.training.chat import Passage, join, spoken
from rsagent.training.synthesis import records
from rsagent.training.synthesis.records import Trajectory


@dataclass(frozen=True, slots=True, eq=False)
class Conversation:
    """A whole episode as a history, and of each assistant's turn whether it is to be learned."""

    history: History = field(repr=False)
    learn: tuple[bool, ...]


def conversation(folder: Path, trajectory: Trajectory) -> Conversation:
    """The history that a trajectory wrote down, its pictures read from `folder`."""
    pictures = iter(trajectory.images)
    history = tuple(
        Message(
            message.role,
            tuple(
                picture(records.path(folder, next(pictures))) if part.type == "image" else TextPart(part.text or "")
                for part in message.content
            ),
        )
        for message in trajectory.messages
    )
    return Conversation(history, trajectory.learnt)


def picture(path: Path) -> ImagePart:
    """A view as it was shown: uint8 [h, w, 3] RGB, not resized, named by its content."""
    with Image.open(path) as image:
        return render.part(np.array(image.convert("RGB")))  # a copy: PIL's own memory is read-only


def check_dialect(trajectories: Sequence[Trajectory], checkpoint: Checkpoint) -> None:
    """Raise CheckpointError where trajectories are in another dialect than the checkpoint will be served with.

    A policy trained on one spelling and served with another would be malformed for ever; nothing would say why.
    """
    spoken_in = sorted({trajectory.meta.dialect for trajectory in trajectories} - {checkpoint.dialect})
    if spoken_in:
        raise CheckpointError(
            f"these trajectories speak {', '.join(spoken_in)}, {checkpoint.name!r} speaks {checkpoint.dialect}: make"
            " them in its dialect, or name theirs in the checkpoint's rsagent.json"
        )


class Passages(Dataset[list[Passage]]):
    """Each trajectory as the passages it is learned from, made when asked for; usually one each."""

    def __init__(self, folder: Path, trajectories: Sequence[Trajectory], checkpoint: Checkpoint) -> None:
        self._folder, self._trajectories = folder, trajectories
        self._encoder, self._ends = PromptEncoder(checkpoint), checkpoint.end_ids

    def __len__(self) -> int:
        return len(self._trajectories)

    def __getitem__(self, index: int) -> list[Passage]:
        told = conversation(self._folder, self._trajectories[index])
        return join(spoken(self._encoder, self._ends, told.history, told.learn))
