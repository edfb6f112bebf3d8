"""One episode: the real one, played by the expert with a real segmenter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from rsagent.agent.actions import Segment, Zoom
from rsagent.agent.dialects.protocol import Dialect
from rsagent.agent.episode import begin, conclude, prompt_of, step
from rsagent.agent.state import Budget, EpisodeResult, EpisodeState, Task
from rsagent.masks.metrics import overlap
from rsagent.policy.protocol import PolicyTurn, ViewSpec
from rsagent.segmenter.protocol import ImageId, Mask, Segmenter
from rsagent.training.synthesis.expert import Expert, Move
from rsagent.training.synthesis.slips import astray, loose, misplaced, mistaken

Plan = Literal["straight", "mistaken", "misplaced", "loose", "astray"]
"""What goes wrong on purpose: nothing; the first look is at another object; beside it; too rough; the zoom is."""
PLANS: tuple[Plan, ...] = get_args(Plan)
NO_GAIN = "no gain"
RISE = 0.02
"""IoU that a correction must gain to be worth learning."""


@dataclass(frozen=True, slots=True)
class Stage:
    """How episodes are told: the words, the size of views, the segmenter."""

    dialect: Dialect
    view: ViewSpec
    segmenter: Segmenter = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Acted:
    """An episode that has ended. `ious[k]` is that of the mask made in turn k with what the turn was about, -1 where
    it made none; `iou` that of all that was submitted with all that was meant (1 where both are nothing). `slips[k]`
    is "" for a turn to be learnt: what was done wrong on purpose is not, nor a click that gained nothing."""

    expert: Expert
    plan: Plan
    result: EpisodeResult
    moves: tuple[Move, ...]
    ious: tuple[float, ...]
    slips: tuple[str, ...]
    iou: float

    @property
    def state(self) -> EpisodeState:
        """The state it ended in."""
        return self.result.state


async def act(expert: Expert, image: ImageId, plan: Plan, budget: int, stage: Stage, rng: np.random.Generator) -> Acted:
    """Play the expert's request to its end. `image` is the content id of the scene's picture."""
    task = Task(expert.scene.image, image, expert.request.text, stage.view, Budget(turns=budget))
    state, moves = begin(task, stage.dialect), list[Move]()
    while state.stop is None:
        move = expert.decide(state)
        if all(earlier.taught for earlier in moves) and not state.masks:
            move = _blundered(plan, expert, state, move, rng)
        moves.append(move)
        state = await made(state, move, stage.dialect, stage.segmenter)
    result, ious = conclude(state), _ious(state, moves)
    slips = tuple(_slip(state, moves, ious, turn, plan) for turn in range(len(moves)))
    return Acted(expert, plan, result, tuple(moves), ious, slips, overlap(result.union, truth(expert)).iou)


async def made(state: EpisodeState, move: Move, dialect: Dialect, segmenter: Segmenter) -> EpisodeState:
    """The state after a move of the expert, said and read in a dialect, with the segmenter's own answer."""
    text = dialect.write(move.thought, move.action, state)
    reading = dialect.parse(text, state)
    prompt = prompt_of(state, reading.action)
    answer = None if prompt is None else await segmenter.segment(state.task.image_id, state.task.image, prompt)
    return step(state, dialect, PolicyTurn(text), reading, answer).state


def _slip(state: EpisodeState, moves: list[Move], ious: tuple[float, ...], turn: int, plan: Plan) -> str:
    """Why a turn is not to be learnt."""
    if not moves[turn].taught:
        return plan
    action = state.turns[turn].action
    base = state.mask(action.base_mask) if isinstance(action, Segment) and action.base_mask is not None else None
    return NO_GAIN if base is not None and ious[turn] < ious[base.turn - 1] + RISE else ""


def _blundered(plan: Plan, expert: Expert, state: EpisodeState, move: Move, rng: np.random.Generator) -> Move:
    """`move` as the plan spoils it; itself where the plan is of another turn. Turns must be left to mend it in."""
    left = state.task.budget.turns - len(state.turns)
    if left < (3 if expert.order else 2):
        return move
    if plan == "astray":
        return astray(expert, move, rng) if isinstance(move.action, Zoom) else move
    if plan == "loose":
        return loose(expert, state, move, rng)
    if plan == "straight":
        return move
    if isinstance(move.action, Zoom):  # who takes one thing for another sees no need to look closer
        placed = expert.order[0]
        move = Move(expert.say(state, "seek", placed.name), Segment(placed.box, frame=0), about=placed)
    return (mistaken if plan == "mistaken" else misplaced)(expert, state, move, rng)


def truth(expert: Expert) -> Mask:
    """bool [H, W]: all that the request means."""
    meant = np.zeros(expert.scene.image.shape[:2], np.bool_)
    for placed in expert.order:
        meant |= placed.mask
    return meant


def _ious(state: EpisodeState, moves: list[Move]) -> tuple[float, ...]:
    def one(move: Move, mask_id: int | None) -> float:
        record = None if mask_id is None else state.mask(mask_id)
        if record is None:
            return -1.0
        return 0.0 if move.about is None else overlap(record.mask, move.about.mask).iou

    return tuple(one(move, turn.mask_id) for move, turn in zip(moves, state.turns, strict=True))
