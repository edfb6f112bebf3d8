"""Agentic GRPO, one file to read from top to bottom.

Each step: draw requests, play each of them `group` times through the served runner against the real segmenter, judge
every episode (`rewards.py`), compare it with its group (`objective.advantages`), and push the tokens it sampled up or
down (`learn.py`). The policy that samples then takes the new weights (`samplers.py`).

What of GRPO, and of the systems around it, is left out, and why:

- no value model: an episode's advantage holds for all its tokens, as in GRPO, and process rewards enter through the
  episode's sum. With `--credit branch` it holds only where an episode parts from others of its group.
- no second forward pass for the old log-probabilities: the sampler tells them, exactly those of the distribution it
  sampled from (at its temperature, all tokens). The figure "gap" is the mean |trainer − sampler| before a step's first
  update: about 1e-6 in process; with a vLLM in bfloat16 watch that it stays below 0.05, and sample in float32 if not.
- most episodes lie near their group's mean and move nothing, yet cost as much: `--keep 0.5` learns from the half that
  lies farthest from it (down-sampling rollouts, PODS, arXiv 2504.13818).
- no oversampling until a batch is full (DAPO's dynamic sampling): groups rewarded alike are left out and the batch is
  smaller; the token-level mean keeps its scale. `--sift 3` tries three times the requests twice and goes on with those
  that tell most: a like end at a known price. `--each 8` asks so many about one scene: its picture is encoded once.
- whole episodes by default; `--moves` practises their moves one by one (`moves.py`), which costs a sixth and is judged
  by one figure of its own instead of the table of rewards.
- no length shaping beyond the price of a turn: a turn has at most 192 tokens and a thought is a sentence.
- no asynchronous rollouts, no sharding: one process trains, it or one vLLM samples. A model that does not fit one
  device with its optimiser is trained with `--part lora`.
- what is left at the end is the mean of the weights over the run's last half, and `merge` takes the mean of several
  runs: a step follows some ten groups, and of three runs the mean was better than each (model soups, arXiv
  2203.05482).
- KL to the starting weights is optional (`--kl`), as Dr. GRPO and DAPO leave it out; SAM-R1 collapsed without it after
  about 100 steps at 7B: set 1e-3 there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rsagent.agent.runner import Runner
from rsagent.agent.state import Budget
from rsagent.policy.checkpoint import Checkpoint
from rsagent.policy.prompt import PromptEncoder
from rsagent.segmenter.protocol import Segmenter
from rsagent.training.chat.adapting import learning
from rsagent.training.chat.reading import Reader
from rsagent.training.chat.saving import export
from rsagent.training.rl.curves import draw
from rsagent.training.rl.guide import guided
from rsagent.training.rl.journal import Journal
from rsagent.training.rl.learn import Learner, lessons_of
from rsagent.training.rl.moves import practise
from rsagent.training.rl.objective import telling
from rsagent.training.rl.plan import Plan
from rsagent.training.rl.pool import Pool
from rsagent.training.rl.rewards import Reward, judge
from rsagent.training.rl.rollout import Rollout, play_groups
from rsagent.training.rl.samplers import Sampler
from rsagent.training.rl.watch import watch

Tell = Callable[[Mapping[str, float]], None]
Groups = list[list[Rollout]]
Judged = tuple[Groups, list[list[Reward]]]
"""Groups of episodes, and the reward of each episode."""
TRIES = 2
LATER = 500_009
"""How far the seed of a group's later episodes lies from that of its first."""


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """All that a run needs. `model` is what `adapt` made of the checkpoint's; `source` the directory it came from."""

    checkpoint: Checkpoint
    model: Any
    source: Path
    sampler: Sampler
    segmenter: Segmenter
    pool: Pool
    held_out: Pool
    reference: Reader | None = None


async def train(stage: Stage, plan: Plan, journal: Journal, tell: Tell = lambda _: None) -> None:
    """Run until the plan ends it; leaves the checkpoint, the curves and an `export` directory in the folder."""
    runner = Runner(stage.sampler.policy, stage.segmenter)
    learns, tower = learning(stage.model), plan.part == "all"
    reader = Reader(stage.checkpoint, tower=tower, known=stage.sampler.known)
    learner = Learner(reader, list(learns.values()), plan, stage.reference)
    encoder = PromptEncoder(stage.checkpoint)
    if journal.state is not None:
        restore(journal.state, learns, learner)
        await stage.sampler.renew()
    if plan.watched and journal.step == 0:
        await look(stage, plan, journal, runner, tell)
    while journal.progress < 1:
        figures = await take_step(stage, plan, journal, runner, learner, encoder)
        journal.step += 1
        if journal.progress >= plan.mean:
            learner.count()
        journal.write("train", figures)
        tell({"step": journal.step, **figures})
        if journal.save_due():
            keep(stage, journal, learns, learner)
        if plan.watched and journal.watch_due():
            await look(stage, plan, journal, runner, tell)
    learner.settle()
    await stage.sampler.renew()
    keep(stage, journal, learns, learner)
    if plan.watched:
        await look(stage, plan, journal, runner, tell)
    draw(journal.folder)


async def take_step(
    stage: Stage, plan: Plan, journal: Journal, runner: Runner, learner: Learner, encoder: PromptEncoder
) -> dict[str, float]:
    """Play, judge, learn, renew. Seeds follow from the plan's and the step's number, so that a resumed run goes on."""
    step, started = journal.step, time.monotonic()
    seed = plan.seed * 1_000_003 + step
    drawn, learned_from = await play(stage, plan, runner, step, seed)
    groups, rewards = learned_from if plan.moves else await lead(runner, learned_from, plan)
    played = time.monotonic()
    lessons = lessons_of(groups, rewards, plan, encoder, stage.checkpoint.end_ids)
    learned = learner.learn(lessons, plan.rate(step, journal.progress), seed) if lessons else {}
    await stage.sampler.renew()
    seconds = {"play_seconds": played - started, "learn_seconds": time.monotonic() - played}
    led = {"led": float(sum(rollout.led is not None for members in groups for rollout in members))}
    figures = counted(*drawn)
    if plan.moves:  # no episode was played to its end
        del figures["giou"], figures["turns"]
    return figures | learned | seconds | led


async def play(stage: Stage, plan: Plan, runner: Runner, step: int, seed: int) -> tuple[Judged, Judged]:
    """What a step plays: groups drawn as they come, which its figures are of, and those to learn from. Where the plan
    sifts, the former are the tries of all requests."""
    if plan.moves:
        practised = await practise(runner, stage.pool.items(step, plan.requests), plan, seed)
        return practised, practised
    count = round(plan.requests * max(1.0, plan.sift))
    items, sifted = stage.pool.items(step, count), count > plan.requests
    play_some = partial(play_groups, runner, budget=Budget(turns=plan.turns), temperature=plan.temperature)
    first = await play_some(items, TRIES if sifted else plan.group, seed=seed)
    worth = judged(first, plan)
    if not sifted:
        return (first, worth), (first, worth)
    chosen = telling([[reward.total for reward in members] or [0.0] for members in worth], plan.requests)
    later = await play_some([items[i] for i in chosen], plan.group - TRIES, seed=seed + LATER)
    groups = [first[i] + members for i, members in zip(chosen, later, strict=True)]
    rewards = [worth[i] + members for i, members in zip(chosen, judged(later, plan), strict=True)]
    return (first, worth), (groups, rewards)


async def lead(runner: Runner, learned_from: Judged, plan: Plan) -> Judged:
    """The groups, where the plan is guided each that has failed with one episode more that the expert ended."""
    if plan.guided == "none":
        return learned_from
    groups, rewards = learned_from
    ends = await asyncio.gather(*(guided(runner, members, plan.leads(absent=True)) for members in groups))
    more = [[] if one is None else [one] for one in ends]
    joined = [[*members, *one] for members, one in zip(groups, more, strict=True)]
    return joined, [[*worth, *one] for worth, one in zip(rewards, judged(more, plan), strict=True)]


def judged(groups: Groups, plan: Plan) -> list[list[Reward]]:
    """The reward of each episode."""
    return [[judge(rollout.trace, plan.weights) for rollout in members] for members in groups]


def counted(groups: Sequence[Sequence[Rollout]], rewards: Sequence[Sequence[Reward]]) -> dict[str, float]:
    """Means over a batch's episodes of the policy's own: the reward and its parts, and what the user would notice."""
    played = [list(zip(*pair, strict=True)) for pair in zip(groups, rewards, strict=True)]
    own = [[(rollout, reward) for rollout, reward in members if rollout.led is None] for members in played]
    traces = [rollout.trace for members in own for rollout, _ in members]
    every = [reward for members in own for _, reward in members]
    present = [trace for trace in traces if not trace.absent]
    absent = [trace for trace in traces if trace.absent]
    totals = [[reward.total for _, reward in members] for members in own if members]
    figures = {
        "reward": _mean([reward.total for reward in every]),
        "best_of_group": _mean([max(group) for group in totals]),
        "alike": _mean([float(np.ptp(group) < 1e-3) for group in totals]),
        "giou": _mean([trace.final if not trace.absent else float(trace.refused) for trace in traces]),
        "refused_present": _mean([float(trace.refused) for trace in present]),
        "refused_absent": _mean([float(trace.refused) for trace in absent]),
        "turns": _mean([float(trace.turns) for trace in traces]),
        "episodes": float(len(traces)),
    }
    names = every[0].parts if every else {}
    return figures | {f"reward/{name}": _mean([reward.parts[name] for reward in every]) for name in names}


async def look(stage: Stage, plan: Plan, journal: Journal, runner: Runner, tell: Tell) -> None:
    """Held-out requests, played greedily, as served."""
    figures = await watch(runner, stage.held_out, plan.watched, Budget(turns=plan.turns))
    journal.write("held-out", figures)
    tell({"step": journal.step, **{f"held-out {name}": value for name, value in figures.items()}})


def keep(stage: Stage, journal: Journal, learns: Mapping[str, torch.Tensor], learner: Learner) -> None:
    """The run's checkpoint, the model as a directory that serves, and the curves."""
    weights = {name: parameter.detach() for name, parameter in learns.items()}
    mean = {"mean": learner.mean, "counted": learner.counted}
    journal.save(weights=weights, optimiser=learner.optimiser.state_dict(), **mean)
    export(stage.model, stage.source, journal.folder / "export")
    draw(journal.folder)


@torch.no_grad()
def restore(state: Mapping[str, Any], learns: Mapping[str, torch.Tensor], learner: Learner) -> None:
    """Go on from a checkpoint. Raises ValueError where it holds other weights than the plan trains."""
    if set(state["weights"]) != set(learns):
        raise ValueError("the run's checkpoint trains other weights; give it another folder, or the same --part")
    for name, parameter in learns.items():
        parameter.copy_(state["weights"][name])
    learner.optimiser.load_state_dict(state["optimiser"])
    learner.mean, learner.counted = list(state["mean"]), int(state["counted"])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
