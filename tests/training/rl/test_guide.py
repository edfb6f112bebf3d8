"""Where an episode went wrong the expert goes on with it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from tests.training.policy.stages import request, scene

from rsagent.agent.actions import Action, Finish, NoTarget, Segment, Zoom
from rsagent.agent.episode import begin
from rsagent.agent.runner import Runner
from rsagent.agent.state import Budget, StopReason, Task
from rsagent.policy.checkpoint import Checkpoint, load
from rsagent.policy.fake import ScriptedPolicy
from rsagent.policy.prompt import PromptEncoder
from rsagent.policy.settings import LocalPolicySettings
from rsagent.segmenter.fake import FakeSegmenter
from rsagent.training.policy.lessons import DIALECT
from rsagent.training.policy.shape import VIEW
from rsagent.training.rl.guide import failed, guided, rewound
from rsagent.training.rl.pool import Item
from rsagent.training.rl.rollout import Rollout, play_groups
from rsagent.training.world.requests import Request

DOG, CAT = ((40.0, 130.0, 160.0, 270.0), (280.0, 150.0, 400.0, 260.0))
LOOK = Zoom((200.0, 100.0, 440.0, 340.0), 0)


def item(asked: Request) -> Item:
    shown = scene()
    truth = np.zeros(shown.image.shape[:2], np.bool_)
    for index in asked.targets:
        truth |= shown.objects[index].mask
    return Item(shown, asked, "find it", truth)


def runner(*moves: Action) -> Runner:
    """A policy that makes these moves, whatever happens."""
    state = begin(Task(scene().image, "id", "find it", VIEW), DIALECT)
    return Runner(ScriptedPolicy([DIALECT.write("The cat.", move, state) for move in moves]), FakeSegmenter())


def led(asked: Request, *moves: Action, turns: int = 8, refusing: bool = True) -> tuple[Rollout, Rollout | None]:
    """An episode of these moves, and how the expert ends it."""

    async def play() -> tuple[Rollout, Rollout | None]:
        acting = runner(*moves)
        groups = await play_groups(acting, [item(asked)], 1, Budget(turns=turns), seed=0)
        return groups[0][0], await guided(acting, groups[0], refusing)

    return asyncio.run(play())


def actions(rollout: Rollout) -> Sequence[Action]:
    return [turn.action for turn in rollout.result.state.turns]


def test_the_expert_takes_over_before_the_first_look_that_is_wrong() -> None:
    own, found = led(request(0), Segment(CAT, frame=0), Finish((1,)))
    assert failed(own.trace)
    assert found is not None
    assert found.led == 0
    assert found.trace.final > 0.7
    assert [type(action) for action in actions(found)] == [Zoom, Segment, Finish]


def test_what_went_well_is_kept() -> None:
    both = request(0, 1, kind="several")
    own, found = led(both, Segment(CAT, frame=0), Finish((1,)))
    assert found is not None
    assert found.led == 1
    assert actions(found)[0] == actions(own)[0]
    assert len(found.result.masks) == 2
    _, found = led(both, Segment(CAT, frame=0), LOOK, LOOK, Finish((1,)))
    assert found is not None
    assert found.led == 1


@pytest.mark.parametrize(("target", "kept"), [(1, 1), (0, 0)])
def test_a_zoom_is_kept_where_it_shows_what_is_meant(target: int, kept: int) -> None:
    _, found = led(request(target), LOOK, NoTarget("nothing"))
    assert found is not None
    assert found.led == kept


def test_a_false_alarm_and_a_wrong_refusal_are_mended() -> None:
    own, found = led(request(), Segment(CAT, frame=0), Finish((1,)))
    assert found is not None
    assert (own.result.stop, found.result.stop, found.led) == (StopReason.FINISHED, StopReason.NO_TARGET, 0)
    assert led(request(), Segment(CAT, frame=0), Finish((1,)), refusing=False)[1] is None
    own, found = led(request(0), NoTarget("no dog"))
    assert found is not None
    assert found.led == 0
    assert found.trace.final > 0.7


def test_what_is_right_or_has_no_turn_left_is_let_be() -> None:
    assert led(request(0), Segment(DOG, frame=0), Finish((1,)))[1] is None
    assert led(request(0), Segment(CAT, frame=0), Finish((1,)), turns=2)[1] is None


def test_an_episode_is_rewound_to_what_it_was() -> None:
    own, _ = led(request(0), LOOK, Segment(CAT, frame=0), Finish((1,)))
    state = own.result.state
    for turns, frames, masks in ((0, 1, 0), (1, 2, 0), (2, 2, 1)):
        earlier = rewound(state, turns)
        assert (len(earlier.turns), len(earlier.frames), len(earlier.masks)) == (turns, frames, masks)
        assert len(earlier.history) == 2 + 2 * turns
        assert earlier.history[-1].role == "user"
        assert earlier.stop is None


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load(LocalPolicySettings(checkpoint="nano", device="cpu"))


def test_only_the_experts_words_are_learned_and_none_has_a_chance(checkpoint: Checkpoint) -> None:
    _, found = led(request(0, 1, kind="several"), Segment(CAT, frame=0), Finish((1,)))
    assert found is not None
    passages = found.passages(PromptEncoder(checkpoint), checkpoint.end_ids)
    said = "".join(checkpoint.tokenizer.decode(p.ids[p.learn]) for p in passages)
    own, *later = (turn.reply.text for turn in found.result.state.turns)
    assert own not in said
    assert all(text in said for text in later)
    assert all(torch.isnan(p.logprobs[p.learn]).all() for p in passages)
