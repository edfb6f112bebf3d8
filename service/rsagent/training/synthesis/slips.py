"""The expert's mistakes, made on purpose so that there is something to see and to mend. None of them is taught."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rsagent.agent.actions import Segment, Zoom
from rsagent.agent.state import EpisodeState
from rsagent.geometry import Box, clip_box
from rsagent.training.synthesis.expert import Expert, Move
from rsagent.training.synthesis.wording import SOMETHING
from rsagent.training.world.scene import Placed

ASTRAY = 0.12
OFF = 0.55
LEAST_ZOOM = 24.0
LEAST_BOX = 4.0
CARELESS = 0.15
TAKEN = 0.5
"""How often who takes one thing for another says so: then only the request tells that it was wrong."""


def slip(expert: Expert, state: EpisodeState, move: Move, rng: np.random.Generator) -> Move:
    """`move` gone wrong: another object's box, or a box that lies badly. Only a first look for a target can slip."""
    if not expert.order:
        return move
    if expert.others and rng.random() < 0.65:
        return mistaken(expert, state, move, rng)
    return misplaced(expert, state, move, rng)


def mistaken(expert: Expert, state: EpisodeState, move: Move, rng: np.random.Generator) -> Move:
    """The box of another object, half of the time by its own name; `move` itself where there is none that the frame
    shows."""
    rivals = likely(expert)
    if not rivals:
        return move
    rival = rivals[int(rng.integers(len(rivals)))]
    says = rng.random() < TAKEN or (not expert.order and expert.sought == SOMETHING)
    return _at(expert, state, move, rival.box, rival.name if says else "")


def misplaced(expert: Expert, state: EpisodeState, move: Move, rng: np.random.Generator) -> Move:
    """The right object's box, moved by half its size; `move` itself where that leaves the frame."""
    if not expert.order:
        return move
    x1, y1, x2, y2 = expert.order[0].box
    off = rng.uniform(0.3, 0.7, 2) * rng.choice([-1, 1], 2) * (x2 - x1, y2 - y1)
    return _at(expert, state, move, (x1 + off[0], y1 + off[1], x2 + off[0], y2 + off[1]))


def loose(expert: Expert, state: EpisodeState, move: Move, rng: np.random.Generator) -> Move:
    """The right object's box, drawn carelessly."""
    if not expert.order:
        return move
    x1, y1, x2, y2 = expert.order[0].box
    off = rng.normal(0, CARELESS, 4) * (x2 - x1, y2 - y1, x2 - x1, y2 - y1)
    left, top, right, bottom = state.last_frame.box
    moved = x1 + off[0], y1 + off[1], x2 + off[2], y2 + off[3]
    inside = max(moved[0], left), max(moved[1], top), min(moved[2], right), min(moved[3], bottom)
    return _at(expert, state, move, inside)


def likely(expert: Expert) -> tuple[Placed, ...]:
    """What could be taken for the target: what bears its name, what the request speaks of beside it, else anything."""
    others, request = expert.others, expert.request
    alike = tuple(placed for placed in others if placed.name == request.subject)
    anchor = () if request.anchor is None else (expert.scene.objects[request.anchor],)
    return alike or anchor or others


def _at(expert: Expert, state: EpisodeState, move: Move, box: Box, said: str = "") -> Move:
    """The first look, aimed at `box`, what is `said` in place of what is meant; `move` itself if it is no first look or
    the box leaves the frame."""
    action = move.action
    if expert.order and (not isinstance(action, Segment) or action.bbox is None):
        return move
    frame = state.last_frame
    inside = clip_box(box, *expert.scene.image.shape[1::-1])
    left, top, right, bottom = frame.box
    if inside[0] < left or inside[1] < top or inside[2] > right or inside[3] > bottom:
        return move
    if min(inside[2] - inside[0], inside[3] - inside[1]) < LEAST_BOX:
        return move
    meant = expert.order[0] if expert.order else None
    name = said or (meant.name if meant else expert.request.subject)
    return Move(expert.say(state, "seek", name), Segment(inside, frame=frame.index), taught=False, about=meant)


def astray(expert: Expert, move: Move, rng: np.random.Generator) -> Move:
    """A zoom as a policy aims it: mostly a little off, now and then at another object. Only the expert's own aim is
    taught; what is learned from the others is to look at what the frame shows."""
    assert isinstance(move.action, Zoom)
    height, width = expert.scene.image.shape[:2]
    others = expert.others
    roll = rng.random()
    if roll > ASTRAY + OFF:
        return move
    x1, y1, x2, y2 = move.action.bbox
    if roll < ASTRAY and others:
        x1, y1, x2, y2 = expert.surroundings(others[int(rng.integers(len(others)))])
    off, grown = rng.normal(0, 0.13, 2) * (x2 - x1, y2 - y1), np.exp(rng.normal(0, 0.2))
    half = (x2 - x1) * grown / 2, (y2 - y1) * grown / 2
    x, y = (x1 + x2) / 2 + off[0], (y1 + y2) / 2 + off[1]
    box = clip_box((x - half[0], y - half[1], x + half[0], y + half[1]), width, height)
    if box[2] - box[0] < LEAST_ZOOM or box[3] - box[1] < LEAST_ZOOM:
        return move
    return replace(move, action=replace(move.action, bbox=box), taught=False)
