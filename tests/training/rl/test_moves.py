"""One move is sampled where the expert led to, and worth what the truth says."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest
from tests.training.policy.stages import request, scene
from tests.training.rl.test_guide import CAT, DOG, item, runner

from rsagent.agent.actions import Action, Finish, Malformed, MalformedKind, NoTarget, Segment, Zoom
from rsagent.agent.state import Budget, StopReason
from rsagent.segmenter.protocol import Prompt
from rsagent.training.rl.guide import expert_of
from rsagent.training.rl.moves import MISSED, NEEDLESS, StandIn, led_to, once, practise
from rsagent.training.rl.plan import Guided, Plan
from rsagent.training.rl.rollout import Rollout
from rsagent.training.world.requests import Request

AROUND_KEY = Zoom((150.0, 330.0, 280.0, 440.0), 0)
WHOLE = Zoom((0.0, 0.0, 448.0, 448.0), 0)


def practised(asked: Request, *moves: Action, guided: Guided = "none") -> tuple[list[Rollout], list[float]]:
    """A group of the first of these moves."""
    plan = Plan(group=2, guided=guided, moves=True)
    (members,), (rewards,) = asyncio.run(practise(runner(*moves), [item(asked)], plan, seed=1))
    return members, [reward.total for reward in rewards]


def first(asked: Request, move: Action) -> float:
    """What a move is worth at an episode's begin."""
    return practised(asked, move)[1][0]


def test_a_box_is_worth_its_overlap_with_what_is_meant() -> None:
    assert first(request(0), Segment(DOG, frame=0)) > 0.9
    near = first(request(0), Segment((40.0, 130.0, 160.0, 235.0), frame=0))
    assert 0.7 < near < 0.8
    assert first(request(0), Segment((40.0, 130.0, 160.0, 190.0), frame=0)) == 0
    assert first(request(0), Segment(CAT, frame=0)) == 0
    assert first(request(), Segment(CAT, frame=0)) == 0


def test_a_refusal_is_right_where_nothing_is_meant() -> None:
    assert first(request(), NoTarget("no umbrella")) == 1
    assert first(request(0), NoTarget("no dog")) == MISSED


def test_a_zoom_is_worth_most_on_what_is_small() -> None:
    on_key = first(request(2), AROUND_KEY)
    assert 0.85 < on_key < 1
    assert first(request(2), WHOLE) == 0
    assert first(request(0), AROUND_KEY) == 0
    needless = first(request(0, 1), Zoom((0.0, 60.0, 240.0, 340.0), 0))  # of several none is to be zoomed on
    assert NEEDLESS / 2 < needless <= NEEDLESS


def test_an_end_is_worth_what_is_submitted_and_nonsense_nothing() -> None:
    assert first(request(0), Finish((1,))) == 0
    assert first(request(0), Malformed(MalformedKind.NO_CALL, "nonsense", "call a tool")) == 0


def test_the_expert_moves_where_all_were_wrong() -> None:
    members, totals = practised(request(0), Segment(CAT, frame=0), guided="all")
    assert totals[:2] == [0, 0]
    assert totals[2] > 0.6
    assert [member.led for member in members] == [None, None, 0]
    members, totals = practised(request(0), Segment(DOG, frame=0), guided="all")
    assert [member.led for member in members] == [None, None]
    members, totals = practised(request(), Segment(CAT, frame=0), guided="present")
    assert [member.led for member in members] == [None, None]
    members, totals = practised(request(), Segment(CAT, frame=0), guided="all")
    assert members[-1].result.stop is StopReason.NO_TARGET
    assert totals[-1] == 1


@pytest.mark.parametrize("seed", range(6))
def test_one_move_is_left_where_the_expert_led_to_and_only_that_is_the_policys_own(seed: int) -> None:
    both = item(request(0, 1, kind="several"))
    acting = runner(Segment(CAT, frame=0))
    expert = expert_of(both, acting)
    standing = type(acting)(acting.policy, StandIn(both.scene, np.random.default_rng(0)))
    state = asyncio.run(led_to(both, expert, standing, Budget(), random.Random(seed)))
    assert state.task.budget == Budget()
    assert once(state).task.budget.turns == len(state.turns) + 1
    assert all(turn.given for turn in state.turns)
    assert state.stop is None
    assert len(expert.matched(state)) == len(state.masks)


def test_the_stand_in_shows_the_object_that_is_most_like_the_box() -> None:
    async def shown(prompt: Prompt) -> float:
        shown = scene()
        answer = await StandIn(shown, np.random.default_rng(0)).segment("id", shown.image, prompt)
        return float(answer.best.mask[shown.objects[0].mask].mean())

    assert asyncio.run(shown(Prompt(box=DOG))) > 0.9
    assert asyncio.run(shown(Prompt(box=CAT))) == 0
    assert asyncio.run(shown(Prompt(points=((100.0, 200.0, 1),)))) < 0.1
