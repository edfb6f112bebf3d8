"""How a trajectory is written down: see the package's docstring for the fields, file by file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from rsagent.errors import NotConfigured

CHOSEN = "trajectories.jsonl"
STEPS = "steps.jsonl"
IMAGES = "images"
PLACEHOLDER = "<image>"
"""What LLaMA-Factory takes for a picture wherever it stands in a text."""
SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}


class TrajectoriesMissing(NotConfigured):
    """A folder holds no trajectories, or ones that are no longer readable."""


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Part(_Document):
    """A text, or a place for the next picture."""

    type: Literal["text", "image"]
    text: str | None = None


class Message(_Document):
    """One message of the chat."""

    role: Literal["system", "user", "assistant"]
    content: tuple[Part, ...]


class Step(_Document):
    """One turn of the expert. `bbox` (xyxy) and `points` (x, y, label) are original-image pixels, empty where the
    call has none; `about` is the plain name of what the turn is about and `target` its box; `iou` is the mask's with
    it, -1 where the turn made no mask; `slip` says what went wrong on purpose, "" for a turn to be learnt."""

    tool: str
    thought: str
    frame: int
    bbox: tuple[float, ...] = ()
    points: tuple[tuple[float, float, int], ...] = ()
    about: str = ""
    target: tuple[float, ...] = ()
    iou: float = -1.0
    slip: str = ""


class Meant(_Document):
    """An object that the request means: name, box xyxy, mask as COCO's compressed RLE of the picture's size."""

    name: str
    bbox: tuple[float, float, float, float]
    counts: str


class Meta(_Document):
    """What is known of a trajectory beside its text. `size` is [height, width] of the original picture, whose file
    (where it was kept) is `picture`; `iou` that of what was submitted with what was meant, 1 for a right refusal."""

    kind: str
    split: str
    source: str
    scene: str
    query: str
    dialect: str
    plan: str
    shape: str
    budget: int
    stop: str
    iou: float
    size: tuple[int, int]
    meant: tuple[Meant, ...]
    frames: tuple[tuple[int, int, int, int], ...]
    steps: tuple[Step, ...]


class Trajectory(_Document):
    """One line of `trajectories.jsonl`. Raises ValidationError where pictures, turns and marks do not add up."""

    id: str
    messages: tuple[Message, ...]
    images: tuple[str, ...]
    learnt: tuple[bool, ...]
    conversations: tuple[dict[str, str], ...]
    meta: Meta

    @model_validator(mode="after")
    def _adds_up(self) -> Trajectory:
        places = sum(part.type == "image" for message in self.messages for part in message.content)
        if places != len(self.images):
            raise ValueError(f"{places} places for {len(self.images)} pictures")
        said = sum(message.role == "assistant" for message in self.messages)
        if not said == len(self.learnt) == len(self.meta.steps):
            raise ValueError(f"{said} turns, {len(self.learnt)} marks and {len(self.meta.steps)} steps")
        if self.messages[-1].role != "assistant":
            raise ValueError("a trajectory ends with the policy's own words")
        return self

    @property
    def turns(self) -> int:
        """How many turns the policy took."""
        return len(self.learnt)


def path(folder: Path, image: str) -> Path:
    """Where a trajectory's picture lies."""
    return folder / image


def read(folder: Path, name: str = CHOSEN) -> Iterator[Trajectory]:
    """The trajectories of a folder, in order. Raises TrajectoriesMissing, naming the command that makes them."""
    source = folder / name
    if not source.is_file():
        raise TrajectoriesMissing(f"no {name} in {folder}: make it with `python -m rsagent.training.synthesis make`")
    with source.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield Trajectory.model_validate_json(line)
            except ValidationError as error:
                raise TrajectoriesMissing(f"{source}, line {number}: {error.errors()[0]['msg']}") from error


def write(file: Path, lines: Iterable[BaseModel]) -> int:
    """Write one document a line and return how many; a crash meanwhile leaves what was there before."""
    partial, count = file.with_name(file.name + ".partial"), 0
    with partial.open("w", encoding="utf-8") as out:
        for count, line in enumerate(lines, 1):  # noqa: B007  (the last number is the answer)
            out.write(line.model_dump_json(exclude_none=True) + "\n")
    partial.replace(file)
    return count


def conversation(messages: Iterable[Message]) -> tuple[dict[str, str], ...]:
    """Messages in LLaMA-Factory's form. A `<image>` that a user wrote is defused: each one there is a picture."""
    return tuple({"from": SPEAKERS[m.role], "value": "".join(map(_inline, m.content))} for m in messages)


def _inline(part: Part) -> str:
    return PLACEHOLDER if part.type == "image" else (part.text or "").replace(PLACEHOLDER, "< image>")


class LearntTurn(_Document):
    """One line of `steps.jsonl`: a conversation up to one learnt turn, which is the completion."""

    id: str
    prompt: tuple[Message, ...]
    completion: tuple[Message, ...]
    images: tuple[str, ...]
    conversations: tuple[dict[str, str], ...]


def learnt_turns(trajectory: Trajectory) -> Iterator[LearntTurn]:
    """Each learnt turn with all that came before it."""
    turn = -1
    for place, message in enumerate(trajectory.messages):
        if message.role != "assistant":
            continue
        turn += 1
        if trajectory.learnt[turn]:
            before = trajectory.messages[:place]
            shown = sum(part.type == "image" for earlier in before for part in earlier.content)
            said = conversation((*before, message))
            yield LearntTurn(
                id=f"{trajectory.id}-turn{turn + 1}", prompt=before, completion=(message,),
                images=trajectory.images[:shown], conversations=said,
            )  # fmt: skip


def dataset_info() -> dict[str, Any]:
    """LLaMA-Factory's description of the two files; train on `rsagent_steps` with `mask_history: true`."""
    columns = {"messages": "conversations", "images": "images"}
    return {
        name: {"file_name": file, "formatting": "sharegpt", "columns": columns}
        for name, file in (("rsagent_steps", STEPS), ("rsagent_trajectories", CHOSEN))
    }
