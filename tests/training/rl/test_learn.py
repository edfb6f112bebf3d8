"""What did better than its group becomes likelier, what did worse less so."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.agent.playing import NATIVE
from tests.training.chat.test_passage import passages

from rsagent.agent.episode import begin, conclude
from rsagent.agent.state import StopReason, Task, Turn
from rsagent.policy.checkpoint import Checkpoint, load
from rsagent.policy.prompt import PromptEncoder
from rsagent.policy.protocol import Message, PolicyTurn
from rsagent.policy.settings import LocalPolicySettings
from rsagent.training.chat import Passage
from rsagent.training.chat.adapting import adapt, learning
from rsagent.training.chat.reading import Reader
from rsagent.training.rl.learn import Learner, Lesson, lessons_of
from rsagent.training.rl.plan import Plan
from rsagent.training.rl.pool import Item
from rsagent.training.rl.rewards import Reward
from rsagent.training.rl.rollout import Rollout
from rsagent.training.rl.trace import trace
from rsagent.training.world import Scene
from rsagent.training.world.requests import Request


@pytest.fixture
def own(tiny_directories: dict[str, Path]) -> Checkpoint:
    """A checkpoint that a test may change."""
    return load(LocalPolicySettings(checkpoint=str(tiny_directories["qwen3_vl"])))


def sampled(checkpoint: Checkpoint) -> tuple[Reader, list[Passage]]:
    """Two passages with the chances that the checkpoint gives them now."""
    adapt(checkpoint.model, "language")
    reader = Reader(checkpoint)
    several = passages(checkpoint, (True, False)) + passages(checkpoint, (False, True))
    with torch.no_grad():
        told = reader.tell(several)
    found = []
    for row, passage in enumerate(several):
        logprobs = torch.zeros(len(passage))
        logprobs[passage.learn] = told.logprobs[told.owner == row]
        found.append(replace(passage, logprobs=logprobs))
    return reader, found


def lesson(passage: Passage, advantage: float) -> Lesson:
    """The same advantage for all its learned tokens."""
    return Lesson(passage, torch.full((int(passage.learn[1:].sum()),), advantage))


def chances(reader: Reader, several: list[Passage]) -> list[float]:
    with torch.no_grad():
        return [float(reader.tell([passage]).logprobs.mean()) for passage in several]


def test_better_tokens_become_likelier_and_worse_ones_less(own: Checkpoint) -> None:
    reader, several = sampled(own)
    plan = Plan(updates=1, rows=1)
    learner = Learner(reader, list(learning(own.model).values()), plan, None)
    before = chances(reader, several)
    figures = learner.learn([lesson(several[0], 1.0), lesson(several[1], -1.0)], 1e-4, seed=0)
    after = chances(reader, several)
    assert after[0] > before[0]
    assert after[1] < before[1]
    assert figures["gap"] < 1e-4
    assert figures["clipped"] == 0
    assert figures["tokens"] == sum(int(passage.learn.sum()) for passage in several)


def test_what_another_said_is_learned_as_if_just_sampled_and_no_divergence_is_guessed_from_it(own: Checkpoint) -> None:
    reader, several = sampled(own)
    other = replace(own, model=copy.deepcopy(own.model))
    led = replace(several[0], logprobs=torch.full_like(several[0].logprobs, torch.nan))
    plan = Plan(updates=1, passes=2, kl=1.0)
    learner = Learner(reader, list(learning(own.model).values()), plan, Reader(other))
    before = chances(reader, [led])
    figures = learner.learn([lesson(led, 1.0)], 1e-4, seed=0)
    assert chances(reader, [led])[0] > before[0]
    assert (figures["gap"], figures["clipped"], figures["kl"]) == (0.0, 0.0, 0.0)
    assert np.isfinite(list(figures.values())).all()


def test_what_the_expert_said_before_is_learned_again(own: Checkpoint) -> None:
    reader, several = sampled(own)
    learner = Learner(reader, list(learning(own.model).values()), Plan(updates=1, replay=2.0), None)
    first, second = (replace(lesson(passage, 1.0), led=True) for passage in several)
    mine = lesson(several[0], 1.0)
    counts = [learner.learn(step, 1e-4, seed=0)["tokens"] for step in ([first, mine], [second], [mine], [second])]
    assert counts == [
        first.tokens + mine.tokens,
        second.tokens + first.tokens,
        mine.tokens,  # nobody led, so nothing comes along
        second.tokens + first.tokens + second.tokens,
    ]


def test_how_many_are_read_at_once_changes_nothing(tiny_directories: dict[str, Path]) -> None:
    def weights(rows: int) -> torch.Tensor:
        checkpoint = load(LocalPolicySettings(checkpoint=str(tiny_directories["qwen3_vl"])))
        reader, several = sampled(checkpoint)
        learned = list(learning(checkpoint.model).values())
        lessons = [lesson(passage, by) for passage, by in zip(several * 2, (1.0, -0.5, 0.2, -0.7), strict=True)]
        optimiser = Learner(reader, learned, Plan(updates=1, rows=rows), None)
        optimiser.optimiser = torch.optim.SGD(learned, lr=1e-2)  # type: ignore[assignment]
        optimiser.learn(lessons, 1e-2, seed=3)
        return torch.cat([parameter.detach().flatten() for parameter in learned])

    assert weights(1).numpy() == pytest.approx(weights(4).numpy(), abs=1e-5)


def test_a_later_update_of_the_same_batch_sees_that_the_policy_has_moved(own: Checkpoint) -> None:
    reader, several = sampled(own)
    learner = Learner(reader, list(learning(own.model).values()), Plan(updates=2), None)
    figures = learner.learn([lesson(several[0], 1.0), lesson(several[0], 1.0)], 1e-3, seed=0)
    assert figures["moved"] > 0
    assert figures["gap"] < 1e-4  # of the first update alone


def test_a_batch_is_gone_over_as_often_as_the_plan_says(own: Checkpoint) -> None:
    reader, several = sampled(own)
    learned = list(learning(own.model).values())
    learner = Learner(reader, learned, Plan(updates=1, passes=3), None)
    figures = learner.learn([lesson(several[0], 1.0)], 1e-4, seed=0)
    assert figures["tokens"] == 3 * lesson(several[0], 1.0).tokens
    assert learner.optimiser.state[learned[0]]["step"] == 3
    assert figures["gap"] < 1e-4  # of the first update alone


def test_a_run_leaves_the_mean_of_the_weights_it_counted(own: Checkpoint) -> None:
    reader, several = sampled(own)
    learned = list(learning(own.model).values())
    learner = Learner(reader, learned, Plan(updates=1), None)
    learner.settle()  # none was counted: nothing changes
    seen = []
    for step in range(3):
        learner.learn([lesson(several[0], 1.0)], 1e-2, seed=step)
        seen.append(learned[0].detach().clone())
        learner.count()
    learner.settle()
    torch.testing.assert_close(learned[0].detach(), torch.stack(seen).mean(0))


def test_staying_near_the_start_pulls_back(own: Checkpoint) -> None:
    reader, several = sampled(own)
    other = replace(own, model=copy.deepcopy(own.model))
    with torch.no_grad():
        for parameter in learning(other.model).values():
            parameter.add_(0.02 * torch.randn_like(parameter))
    learner = Learner(reader, list(learning(own.model).values()), Plan(updates=1, kl=5.0), Reader(other))
    one = [lesson(several[0], 1e-6)]
    apart = [learner.learn(one, 1e-4, seed=step)["kl"] for step in range(4)]
    assert apart[0] > 0
    assert apart[-1] < apart[0]


def rollout(checkpoint: Checkpoint, words: str) -> Rollout:
    """An episode of one turn that said `words`."""
    image = np.zeros((64, 96, 3), np.uint8)
    state = begin(Task(image, "id", "the cup", checkpoint.view), NATIVE)
    ids = tuple(checkpoint.tokenizer.encode(words, add_special_tokens=False))
    reply = PolicyTurn(words, token_ids=ids, logprobs=(-1.0,) * len(ids))
    reading = NATIVE.parse(words, state)
    turn = Turn(1, reply, reading.thought, reading.action)
    history = (*state.history, Message.of("assistant", words))
    result = conclude(replace(state, turns=(turn,), history=history), StopReason.TURN_BUDGET)
    truth = np.ones((64, 96), np.bool_)
    item = Item(Scene(image, (), 1), Request("the cup", "name", (0,), "cup"), "the cup", truth)
    return Rollout(item, result, trace(result, truth))


def test_lessons_are_what_differs_from_its_group(qwen3: Checkpoint) -> None:
    groups = [[rollout(qwen3, word) for word in ("red", "fox", "bell", "left")] for _ in range(2)]
    rewards = [[Reward(worth, {}) for worth in row] for row in ((0.5, 0.5, 0.5, 0.5), (0.0, 1.0, 0.4, 0.6))]
    encoder = PromptEncoder(qwen3)
    found = lessons_of(groups, rewards, Plan(scale="none"), encoder, qwen3.end_ids)
    assert sorted(round(float(one.advantage[0]), 3) for one in found) == [-0.5, -0.1, 0.1, 0.5]
    half = lessons_of(groups, rewards, Plan(scale="none", keep=0.5), encoder, qwen3.end_ids)
    assert sorted(round(float(one.advantage[0]), 3) for one in half) == [-0.5, 0.5]
    assert [qwen3.tokenizer.decode(one.passage.ids[one.passage.learn]) for one in half if one.advantage[0] > 0] == [
        "fox"
    ]
    assert lessons_of([[]], [[]], Plan(), encoder, ()) == []


def test_with_credit_by_branch_what_nobody_said_otherwise_is_not_learned_from(qwen3: Checkpoint) -> None:
    group = [rollout(qwen3, words) for words in ("the red fox", "the red bell", "the left bell")]
    plan = Plan(credit="branch")
    encoder = PromptEncoder(qwen3)
    rewards = [[Reward(worth, {}) for worth in (1.0, 0.0, 0.5)]]
    found = lessons_of([group], rewards, plan, encoder, qwen3.end_ids)
    due = {qwen3.tokenizer.decode(one.passage.ids[one.passage.learn]): one.advantage for one in found}
    assert set(due) == {"the red fox", "the red bell"}  # the third is worth what all are, and so is where it parts
    assert all(len(one.advantage) == one.tokens for one in found)
    assert float(due["the red fox"].sum()) == pytest.approx(0.5)
    assert float(due["the red bell"].sum()) == pytest.approx(-0.5)
    assert all(int(torch.count_nonzero(one)) == 1 for one in due.values())


def test_what_is_due_by_chance_is_left_out_and_blame_may_weigh_less(qwen3: Checkpoint) -> None:
    group = [rollout(qwen3, words) for words in ("the red fox", "the red bell", "the left bell", "the left fox")]
    rewards = [[Reward(worth, {}) for worth in (1.0, 0.98, 0.0, 0.0)]]
    plan = Plan(credit="branch", least=0.1, blame=0.5)
    found = lessons_of([group], rewards, plan, PromptEncoder(qwen3), qwen3.end_ids)
    assert all(int(torch.count_nonzero(one.advantage)) == 1 for one in found)  # fox and bell are alike
    assert sorted(round(float(one.advantage.sum()), 4) for one in found) == [-0.2475, -0.2475, 0.495, 0.495]


def test_who_is_led_is_worth_what_it_gained_and_blames_nobody(qwen3: Checkpoint) -> None:
    group = [rollout(qwen3, "red"), rollout(qwen3, "fox"), replace(rollout(qwen3, "bell"), led=0)]
    encoder = PromptEncoder(qwen3)

    def found(*worth: float) -> list[tuple[str, float]]:
        told = lessons_of([group], [[Reward(one, {}) for one in worth]], Plan(), encoder, qwen3.end_ids)
        return [(qwen3.tokenizer.decode(one.passage.ids[one.passage.learn]), float(one.advantage[0])) for one in told]

    [(said, worth)] = found(0.2, 0.2, 1.0)
    assert said.startswith("bell")
    assert worth == pytest.approx(0.8)
    assert sorted(worth for _, worth in found(0.0, 0.4, 1.0)) == pytest.approx([-0.2, 0.2, 0.8])


def test_the_rate_warms_up_holds_and_falls() -> None:
    plan = Plan(lr=1.0, warm=4, hold=0.5)
    assert plan.rate(0, 0.0) == 0.25
    assert plan.rate(10, 0.4) == 1.0
    assert plan.rate(10, 0.75) == pytest.approx(0.5)
    assert plan.rate(10, 1.0) == 0.0
