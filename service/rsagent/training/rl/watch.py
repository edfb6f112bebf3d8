"""How the policy does on requests it is not trained on, while it trains."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from rsagent.agent.runner import Runner
from rsagent.agent.state import Budget
from rsagent.training.rl.pool import Pool
from rsagent.training.rl.rollout import Rollout, play_groups


async def watch(runner: Runner, pool: Pool, count: int, budget: Budget) -> dict[str, float]:
    """gIoU over the pool's first `count` requests, greedily played as served, whole and by kind, with the half width
    of its 95 % interval; how often an absent target is said absent, a present one refused; turns."""
    groups = await play_groups(runner, pool.items(0, count), 1, budget, seed=0, temperature=0.0)
    played = [rollout for members in groups for rollout in members]
    ious = np.array([iou_of(rollout) for rollout in played])
    kinds: defaultdict[str, list[float]] = defaultdict(list)
    for rollout, iou in zip(played, ious, strict=True):
        kinds[rollout.item.request.kind].append(float(iou))
    absent = [rollout.trace.refused for rollout in played if rollout.trace.absent]
    present = [rollout.trace.refused for rollout in played if not rollout.trace.absent]
    figures = {
        "giou": float(ious.mean()),
        "giou_half_width": float(1.96 * ious.std() / np.sqrt(len(ious))),
        "absent_said_absent": float(np.mean(absent)) if absent else 0.0,
        "present_refused": float(np.mean(present)) if present else 0.0,
        "turns": float(np.mean([rollout.trace.turns for rollout in played])),
    }
    return figures | {f"giou/{kind}": float(np.mean(values)) for kind, values in sorted(kinds.items())}


def iou_of(rollout: Rollout) -> float:
    """As the evaluation counts: of an absent target, 1 for saying so and 0 for anything else."""
    return float(rollout.trace.refused) if rollout.trace.absent else rollout.trace.final
