"""From an episode that was played to a line of the file, its pictures kept once each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rsagent.agent.actions import Segment, Zoom, tool_name
from rsagent.agent.state import EpisodeState, Turn
from rsagent.masks import rle
from rsagent.policy.chat import encode_image, images_of, plain
from rsagent.policy.protocol import History, ImagePart, TextPart
from rsagent.policy.protocol import Message as Said
from rsagent.training.synthesis.acting import Acted
from rsagent.training.synthesis.expert import Move
from rsagent.training.synthesis.records import IMAGES, Meant, Message, Meta, Part, Step, Trajectory, conversation

ImageKind = Literal["jpeg", "png"]
SUFFIX: dict[ImageKind, str] = {"jpeg": "jpg", "png": "png"}
HURRIED = 2


@dataclass(frozen=True)
class Gallery:
    """Where pictures are kept, under the hash of their pixels: what two trajectories show is one file."""

    folder: Path
    kind: ImageKind = "jpeg"

    def name(self, image: ImagePart) -> str:
        """A picture's path, relative to the folder."""
        return f"{IMAGES}/{image.uuid[:2]}/{image.uuid}.{SUFFIX[self.kind]}"

    def hang(self, acted: Acted) -> None:
        """Write an episode's pictures that are not there yet. Other processes may do the same."""
        for image in images_of(_read(acted)):
            file = self.folder / self.name(image)
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                partial = file.with_suffix(f".{os.getpid()}.partial")
                partial.write_bytes(encode_image(image.pixels, self.kind))
                partial.replace(file)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a trajectory is from: `id` of its own, the source's name, its split, the scene's name."""

    id: str
    source: str
    split: str
    scene: str


def transcribe(acted: Acted, origin: Origin, dialect: str, gallery: Gallery) -> Trajectory:
    """The trajectory of an episode. Its pictures are named, not written: see `Gallery.hang`."""
    messages = tuple(map(_message, _read(acted)))
    return Trajectory(
        id=origin.id, messages=messages, images=tuple(map(gallery.name, images_of(_read(acted)))),
        learnt=tuple(not slip for slip in acted.slips), conversations=conversation(messages),
        meta=_meta(acted, origin, dialect),
    )  # fmt: skip


def _read(acted: Acted) -> History:
    """The history up to the policy's last words: what nobody answers to needs no reading."""
    history = acted.state.history
    return history if history[-1].role == "assistant" else history[:-1]


def _message(said: Said) -> Message:
    return Message(role=said.role, content=tuple(map(_part, said.parts)))


def _part(part: TextPart | ImagePart) -> Part:
    return Part(type="image") if isinstance(part, ImagePart) else Part(type="text", text=plain(part.text))


def _meta(acted: Acted, origin: Origin, dialect: str) -> Meta:
    state, request = acted.state, acted.expert.request
    return Meta(
        kind=request.kind, split=origin.split, source=origin.source, scene=origin.scene, query=request.text,
        dialect=dialect, plan=acted.plan, shape=shape(acted), budget=state.task.budget.turns,
        stop=acted.result.stop.value, iou=round(acted.iou, 4), size=(state.task.height, state.task.width),
        meant=tuple(Meant(name=p.name, bbox=p.box, counts=rle.encode(p.mask)) for p in acted.expert.order),
        frames=tuple(frame.box for frame in state.frames),
        steps=tuple(map(_step, state.turns, acted.moves, acted.ious, acted.slips)),
    )  # fmt: skip


def _step(turn: Turn, move: Move, iou: float, slip: str) -> Step:
    action, about = turn.action, move.about
    box = action.bbox if isinstance(action, Segment | Zoom) else None
    points = action.points if isinstance(action, Segment) else ()
    return Step(
        tool=tool_name(action), thought=turn.thought, frame=_shown(action),
        bbox=() if box is None else tuple(round(side, 2) for side in box),
        points=tuple((round(p.x, 2), round(p.y, 2), int(p.positive)) for p in points),
        about="" if about is None else about.name, target=() if about is None else about.box,
        iou=round(iou, 4), slip=slip,
    )  # fmt: skip


def _shown(action: object) -> int:
    return action.frame if isinstance(action, Segment | Zoom) else 0


def shape(acted: Acted) -> str:
    """What sort of trajectory it is, by the most telling thing that happens in it."""
    state: EpisodeState = acted.state
    slipped = not all(move.taught for move in acted.moves)
    if not acted.expert.order:
        return "absent, after a false alarm" if slipped else "absent"
    if slipped and acted.plan != "loose":
        return "corrected aim" if isinstance(state.turns[_first_slip(acted)].action, Zoom) else "corrected"
    clicks = [slip for turn, slip in zip(state.turns, acted.slips, strict=True) if _clicks(turn)]
    if clicks:
        return "click undone" if clicks[-1] else "refined by clicks"
    if slipped:
        return "loose box"
    if len(acted.expert.order) > 1:
        return "several"
    if len(state.frames) > 1:
        return "zoomed"
    return "hurried" if state.task.budget.turns <= HURRIED else "early stop"


def _first_slip(acted: Acted) -> int:
    return next(index for index, move in enumerate(acted.moves) if not move.taught)


def _clicks(turn: Turn) -> bool:
    return isinstance(turn.action, Segment) and turn.action.base_mask is not None
