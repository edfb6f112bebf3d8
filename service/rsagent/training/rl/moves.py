"""Single moves: what to do next at one place of an episode, judged at once against the truth.

One move settles most of what an episode earns: of those whose first mask showed another thing all ended with it. A
whole episode costs a CPU core a third of a second, most of it for masks and for looking at them. So the expert
leads to a place, with masks that no model draws (`StandIn`), and the policy samples a group of next
moves there: the same prompt, the same groups, the same credit, at a sixth of the price. Where all are wrong the expert
makes the move, and the group gets one member more, as in `guide.py`. (Starts along a demonstration: arXiv 1812.03381;
rewards of single turns in multi-turn RL: arXiv 2505.11821.)
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rsagent.agent.actions import Action, Finish, NoTarget, Segment, Zoom
from rsagent.agent.episode import begin, conclude
from rsagent.agent.runner import Runner, play_to_end
from rsagent.agent.state import Budget, EpisodeResult, EpisodeState, Task
from rsagent.deadline import Deadline
from rsagent.evaluation.figures import SOLVED
from rsagent.geometry import Box
from rsagent.masks.metrics import overlap
from rsagent.segmenter.protocol import Image, ImageId, Prompt, SegmentResult, image_id
from rsagent.training.policy.play import box_overlap, segment
from rsagent.training.rl.guide import expert_of
from rsagent.training.rl.plan import Plan
from rsagent.training.rl.pool import Item
from rsagent.training.rl.rewards import Reward
from rsagent.training.rl.rollout import BROKEN, Rollout, to_learn_from
from rsagent.training.rl.trace import trace
from rsagent.training.synthesis.acting import made, truth
from rsagent.training.synthesis.expert import Expert, shows
from rsagent.training.world.scene import Placed, Scene

GO_ON: Mapping[str, float] = {"several": 0.6}
"""How likely the expert leads one move further, by the kind of request; where little follows from a move, seldom."""
SELDOM = 0.15
WINDOW = 0.4
"""IoU with the window that the expert would zoom to from which on a zoom is one on that thing."""
NEEDLESS = 0.75
"""What it is worth to zoom on what is large enough, of what it is worth on what is small."""
MISSED = -1.0
"""What it is worth to say of what is there that it is not: an episode that errs otherwise may still find it."""
NEAR = 4.0
"""Half the side of the box that a point alone is taken for, in pixels."""


@dataclass(frozen=True, eq=False)
class StandIn:
    """A segmenter that no model is needed for: the world's mask of the object whose box is most like the one it is
    asked with, a little off, as in the policy's first lessons (`policy.play.segment`)."""

    scene: Scene = field(repr=False)
    chance: np.random.Generator

    @property
    def variant(self) -> str:
        return "stand-in"

    async def segment(
        self,
        image_id: ImageId,
        image: Image | Callable[[], Image],
        prompt: Prompt,
        deadline: Deadline | None = None,
    ) -> SegmentResult:
        """See `Segmenter.segment`."""
        around = [(x - NEAR, y - NEAR, x + NEAR, y + NEAR) for x, y, _ in prompt.points]
        return segment(self.scene, prompt.box or around[-1], self.chance)

    async def ready(self) -> bool:
        return True

    async def close(self) -> None:
        """There is nothing to free."""


def worth(before: EpisodeState, action: Action, result: EpisodeResult, expert: Expert) -> float:
    """What a move is worth, `MISSED`..1, made in the state `before` and leading to `result`.

    A refusal: 1 where nothing is meant, else `MISSED`. A box: its IoU with that of what is meant and not yet shown,
    from 0.5 on. A zoom: half and half of its IoU with the expert's window, from `WINDOW` on, and less where what is
    meant is not small; for who is paid for all that shows it zooms on everything. An end: the IoU of what is submitted.
    Else 0."""
    if isinstance(action, NoTarget):
        return MISSED if expert.order else 1.0
    if not expert.order or result.state.turns[-1].repeated:
        return 0.0
    done = expert.matched(before)
    rest = [placed for index, placed in enumerate(expert.order) if index not in done]
    match action:
        case Finish():
            return overlap(result.union, truth(expert)).iou
        case Segment(bbox=box) if box is not None:
            found = max((box_overlap(box, placed.box) for placed in rest), default=0.0)
            return found if found >= SOLVED else 0.0
        case Zoom():
            window = result.state.last_frame.box
            return max((_zoomed(window, before, placed, expert) for placed in rest), default=0.0)
        case _:
            return 0.0


def _zoomed(window: Box, before: EpisodeState, placed: Placed, expert: Expert) -> float:
    alike = box_overlap(window, expert.surroundings(placed))
    if alike < WINDOW or not shows(window, placed.box):
        return 0.0
    return (1 + alike) / 2 * (1.0 if expert.too_small(before, placed) else NEEDLESS)


async def led_to(item: Item, expert: Expert, runner: Runner, budget: Budget, chance: random.Random) -> EpisodeState:
    """A state on the expert's way, its turns marked as given."""
    task = Task(item.image, image_id(item.image), item.query, runner.policy.view, budget)
    state = begin(task, runner.dialect)
    while chance.random() < GO_ON.get(item.request.kind, SELDOM):
        further = await made(state, expert.decide(state), runner.dialect, runner.segmenter)
        if further.stop is not None:
            break
        state = further
    return replace(state, turns=tuple(replace(turn, given=True) for turn in state.turns))


def once(state: EpisodeState) -> EpisodeState:
    """The same with a budget that ends after the next turn; what is told of the budget stays as it was."""
    budget = replace(state.task.budget, turns=len(state.turns) + 1)
    return replace(state, task=replace(state.task, budget=budget))


async def practise(
    runner: Runner, items: Sequence[Item], plan: Plan, seed: int
) -> tuple[list[list[Rollout]], list[list[Reward]]]:
    """A group of moves for each item, and what each is worth; where the plan is guided and all were wrong the expert's,
    too. The same for the same seed and weights."""
    seeds = (seed * 100_003 + place * plan.group for place in range(len(items)))
    found = await asyncio.gather(
        *(_group(runner, item, plan, of_item) for item, of_item in zip(items, seeds, strict=True))
    )
    return [members for members, _ in found], [rewards for _, rewards in found]


async def _group(runner: Runner, item: Item, plan: Plan, seed: int) -> tuple[list[Rollout], list[Reward]]:
    standing = Runner(runner.policy, StandIn(item.scene, np.random.default_rng(seed)))
    expert = expert_of(item, runner)
    before = await led_to(item, expert, standing, Budget(turns=plan.turns), random.Random(seed))
    samples = (_sampled(standing, once(before), seed + k, plan.temperature) for k in range(plan.group))
    ends = [result for result in await asyncio.gather(*samples) if result.stop not in BROKEN]
    members = [Rollout(item, result, trace(result, item.truth)) for result in ends]
    rewards = [_reward(before, result, expert) for result in ends]
    wrong = bool(rewards) and max(reward.total for reward in rewards) < SOLVED
    if wrong and plan.leads(absent=not expert.order):
        right = conclude(await made(once(before), expert.decide(before), standing.dialect, standing.segmenter))
        members.append(Rollout(item, right, trace(right, item.truth), led=len(before.turns)))
        rewards.append(_reward(before, right, expert))
    return members, rewards


async def _sampled(runner: Runner, before: EpisodeState, seed: int, temperature: float) -> EpisodeResult:
    events = runner.go_on(before, deadline=Deadline.after(3600.0), sampling=to_learn_from(temperature, seed))
    return (await play_to_end(events)).result


def _reward(before: EpisodeState, result: EpisodeResult, expert: Expert) -> Reward:
    found = worth(before, result.state.turns[-1].action, result, expert)
    return Reward(found, {"move": found})
