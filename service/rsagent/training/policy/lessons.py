"""Lessons: conversations as token ids, with the policy's own words marked as what is to be learned."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rsagent.agent import render
from rsagent.agent.dialects import get
from rsagent.agent.episode import begin
from rsagent.agent.state import Budget, Task
from rsagent.policy.chat import images_of, template_messages
from rsagent.policy.protocol import History, Message
from rsagent.training.policy.associations import FAR, NEAR, Associations
from rsagent.training.policy.dense import IGNORE, SPELLED
from rsagent.training.policy.paraphrase import paraphrase
from rsagent.training.policy.shape import CELL, VIEW
from rsagent.training.synthesis.expert import Expert
from rsagent.training.world import World
from rsagent.training.world.names import entries
from rsagent.training.world.requests import Request, requests
from rsagent.training.world.scene import Scene

DIALECT = get("nano")
MIX = {"name": 2.0, "attribute": 3.5, "relation": 4.5, "reasoning": 4.5, "several": 3.5, "absent": 2.5}
OTHERWISE = 0.5
REWORDED = 0.7
"""Share of sentences about things that are said in other words."""
VAGUE = 0.7
"""Share of those that are said so otherwise that their words alone may not tell what is meant. Of a sentence never read
the name was told from its words alone, and in 44 of 80 cases that was none in view."""


@dataclass(frozen=True)
class Words:
    """What requests are said with beside the world's own phrasings: `fillers` around what is meant, `associations` in
    place of what is known of it."""

    fillers: Sequence[str] = ()
    associations: Associations | None = None


PLAIN = Words()


@dataclass(frozen=True, eq=False)
class Gaze:
    """Where the policy's words in a turn must have an object in view: places `start` to `stop` of the ids, and which
    `cells` (bool [rows * columns]) of picture number `picture` show it."""

    start: int
    stop: int
    picture: int
    cells: Tensor


@dataclass(frozen=True, eq=False)
class Lesson:
    """`ids` [S] with one id a cell of each picture; `labels` [S]: the id to be predicted *from* each place, or IGNORE;
    `spots` bool [S]: where that id is a coordinate; `kind` of the request; `shared` ids open every lesson
    about the same picture; `pictures` uint8 [h, w, 3] each; `target`: which object of the scene the first move is
    about, -1 none, and `named` where the thought comes to it; `anchor`: the object that a relation refers to, -1 none,
    `anchored` where its name in the request ends, and `referred` how many places from the thought's beginning on are
    about it; `gazes` of whole episodes."""

    ids: Tensor
    labels: Tensor
    spots: Tensor
    kind: str
    shared: int
    pictures: tuple[NDArray[np.uint8], ...] = field(repr=False)
    target: int = -1
    named: int = 0
    anchor: int = -1
    anchored: int = 0
    referred: int = 0
    gazes: tuple[Gaze, ...] = ()

    @property
    def looks(self) -> slice:
        """Where the first move is about to be told, its name first: places that must have the object in view."""
        said = int(self.spots.nonzero()[-1]) if int(self.spots.sum()) >= 4 else 0
        return slice(self.named, said + 1)

    @property
    def grids(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of cells, a picture each."""
        return tuple((p.shape[0] // CELL, p.shape[1] // CELL) for p in self.pictures)


class Scribe:
    """Turns conversations into lessons for one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.image = tokenizer.convert_tokens_to_ids("<|image_pad|>")
        self.opened = tokenizer.convert_tokens_to_ids("<|vision_end|>")
        self.end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        self.header = tokenizer.encode("<|im_start|>assistant\n")
        self.think = tokenizer.convert_tokens_to_ids("<think>")
        self.stop = tokenizer.encode("<think>The dog.")[-1]
        self.first = self.prefix((1, 1)).tolist().index(self.image)
        self.numbers = torch.tensor([tokenizer.encode(str(number))[0] for number in SPELLED])
        self._number_ids = {int(number): index for index, number in enumerate(self.numbers)}
        boxes = ('{"name": "segment", "arguments": {"bbox_2d": [', '{"name": "zoom", "arguments": {"bbox_2d": [')
        self._boxes = {tokenizer.encode(skeleton)[-1] for skeleton in (*boxes, "<think>The dog [")}

    def lesson(self, history: History, kind: str, taught: Collection[int] | None = None) -> Lesson:
        """A lesson from a conversation; `taught` numbers the assistant turns (from 0) to learn, all by default."""
        text = self.tokenizer.apply_chat_template(template_messages(history), tokenize=False)
        pictures = tuple(image.pixels for image in images_of(history))
        ids: list[int] = []
        rest = iter(pictures)
        for token in self.tokenizer.encode(text):
            if token == self.image:
                picture = next(rest)
                ids += [token] * (picture.shape[0] // CELL * picture.shape[1] // CELL)
            else:
                ids.append(token)
        labels, spots = self._labels(ids, taught)
        return Lesson(torch.tensor(ids), labels, spots, kind, ids.index(self.opened) + 1, pictures)

    def prefix(self, grid: tuple[int, int]) -> Tensor:
        """Ids that open every lesson about one picture of `grid` cells, up to the end of that picture."""
        rows, columns = grid
        blank = render.part(np.zeros((rows * CELL, columns * CELL, 3), np.uint8))
        start = (Message.of("system", DIALECT.system(Budget())), Message.of("user", blank))
        text = self.tokenizer.apply_chat_template(template_messages(start), tokenize=False)
        ids = self.tokenizer.encode(text)
        ids = ids[: ids.index(self.opened) + 1]
        where = ids.index(self.image)
        return torch.tensor([*ids[:where], *[self.image] * (rows * columns), *ids[where + 1 :]])

    def looking(self, lesson: Lesson) -> list[slice]:
        """Of each assistant turn the places where what it names must be in view: from the end of the name (in the first
        turn from where it is to be said) to the last coordinate."""
        ids, found = lesson.ids.tolist(), []
        for turn, (start, stop) in enumerate(self._spans(ids)):
            named = ids.index(self.stop, start) if self.stop in ids[start:stop] else start
            if turn == 0 and self.stop in ids[start:stop]:
                named = self.named(ids)
            told = list(self._places(ids, start, stop))
            found.append(slice(named, told[-1] if told else named + 1))
        return found

    def named(self, ids: list[int]) -> int:
        """Where the first thought comes to what is meant: at its beginning, or after what it refers to."""
        start = ids.index(self.think)
        end = ids.index(self.stop, start)
        return end if self._number_ids.keys() & set(ids[start:end]) else start

    def mentioned(self, ids: list[int], phrases: Sequence[str]) -> int:
        """Where the last mention of one of some phrases ends in `ids`, 0 where there is none."""
        ends = [0]
        for phrase in phrases:
            sought = self.tokenizer.encode(" " + phrase)
            starts = range(len(ids) - len(sought) + 1)
            ends += [start + len(sought) - 1 for start in starts if ids[start : start + len(sought)] == sought]
        return max(ends)

    def _labels(self, ids: list[int], taught: Collection[int] | None) -> tuple[Tensor, Tensor]:
        labels, spots = torch.full((len(ids),), IGNORE), torch.zeros(len(ids), dtype=torch.bool)
        for turn, (start, stop) in enumerate(self._spans(ids)):
            if taught is None or turn in taught:
                labels[start - 1 : stop - 1] = torch.tensor(ids[start:stop])
                for place in self._places(ids, start, stop):
                    spots[place - 1] = True
        return labels, spots

    def _spans(self, ids: list[int]) -> Iterator[tuple[int, int]]:
        """Start and end of each assistant turn, its closing `<|im_end|>` included."""
        width = len(self.header)
        for start in range(len(ids) - width + 1):
            if ids[start : start + width] == self.header:
                yield start + width, ids.index(self.end, start) + 1

    def _places(self, ids: list[int], start: int, stop: int) -> Iterator[int]:
        for index in range(start, stop):
            if ids[index] in self._boxes:
                found = [i for i in range(index + 1, min(index + 9, stop)) if ids[i] in self._number_ids]
                yield from found[:4]


def opening(scene: Scene, request: Request, turns: int) -> tuple[Any, Expert]:
    """The episode's first state for a request, and the expert who knows the answer."""
    task = Task(scene.image, f"scene-{scene.seed}", request.text, VIEW, Budget(turns=turns))
    return begin(task, DIALECT), Expert(scene, request, place=DIALECT.place)


def first_lesson(scribe: Scribe, scene: Scene, request: Request, turns: int) -> Lesson:
    """One request and the expert's first move."""
    state, expert = opening(scene, request, turns)
    move = expert.decide(state)
    said = Message.of("assistant", DIALECT.write(move.thought, move.action, state))
    lesson = scribe.lesson((*state.history, said), request.kind)
    if not expert.order:
        return lesson
    target = next(i for i, placed in enumerate(scene.objects) if placed is expert.order[0])
    ids = lesson.ids.tolist()
    lesson = replace(lesson, target=target, named=scribe.named(ids))
    if request.anchor is None:
        return lesson
    begun = ids.index(scribe.think)
    anchored = scribe.mentioned(ids[:begun], phrases_of(scene.objects[request.anchor].name))
    return replace(lesson, anchor=request.anchor, anchored=anchored, referred=lesson.named - begun)


@cache
def phrases_of(name: str) -> tuple[str, ...]:
    """Every way to say a name of the world."""
    return next(entry.phrases for entry in entries() if entry.name == name)


def draw(scene: Scene, world: World, count: int, rng: np.random.Generator, words: Words = PLAIN) -> list[Request]:
    """`count` requests about a scene, the kinds in the shares of `MIX`, some of them said in other words."""
    chance = random.Random(int(rng.integers(1 << 30)))
    made = requests(scene, world, chance.randrange(1 << 30), each=3, voice="train")
    weights = np.array([MIX[request.kind] for request in made])
    chosen = [made[i] for i in rng.choice(len(made), count, replace=len(made) < count, p=weights / weights.sum())]
    inside = {placed.name for placed in scene.objects}
    return [otherwise(request, chance, words, inside) for request in chosen]


def otherwise(
    request: Request, chance: random.Random, words: Words, inside: Collection[str], share: float = OTHERWISE
) -> Request:
    """The request in other words: another sentence about the thing, which if it is there need only go with it best of
    the names `inside`, and a `share` of all in other phrasings."""
    text = request.text
    if words.associations and request.kind in ("reasoning", "absent") and chance.random() < REWORDED:
        change = FAR if chance.random() < VAGUE else NEAR
        among = inside if request.kind == "reasoning" else None
        text = words.associations.reworded(request.subject, text, chance, change, among)
    if chance.random() < share:
        text = paraphrase(text, request.kind, chance, words.fillers)
    return replace(request, text=text)
