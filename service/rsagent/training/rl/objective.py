"""GRPO's arithmetic, pure: advantages of a group, and the loss of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Scale = Literal["group", "none"]
Credit = Literal["episode", "branch"]
LEAST_SPREAD = 1e-4


@dataclass(frozen=True, slots=True)
class Clip:
    """How far a token's chance may move for one batch of episodes: ratio within 1 − `low` … 1 + `high`. The upper
    bound is the wider one ("clip-higher", DAPO, arXiv 2503.14476; SAM-R1 uses 0.3): unlikely tokens need the room."""

    low: float = 0.2
    high: float = 0.28


def advantages(rewards: Sequence[float], scale: Scale = "group") -> NDArray[np.float64]:
    """Rewards [k] of one group as advantages [k]: less their mean, and with "group" over their standard deviation.

    "group" is GRPO (DeepSeekMath, arXiv 2402.03300, eq. 4.1); "none" leaves the deviation out, which otherwise makes
    groups that hardly differ count as much as those that do (Dr. GRPO, arXiv 2503.20783). All alike: zeros.
    """
    values = np.asarray(rewards, dtype=np.float64)
    centred: NDArray[np.float64] = values - values.mean()
    spread = float(values.std())
    if spread < LEAST_SPREAD:
        return np.zeros_like(values)
    return centred / spread if scale == "group" else centred


def branching(said: Sequence[Sequence[int]], rewards: Sequence[float]) -> list[NDArray[np.float64]]:
    """What each sampled token of a group's episodes [k] did for its reward: the mean over the episodes that begin with
    the same tokens up to and including it, less that over all which begin with those before it. One array [n] for each
    of `said`, [n] ids.

    An episode's advantage at each of its tokens blames a thousand of them for one wrong word; here the word at which a
    right and a wrong episode part is blamed, and what nobody else said before is neither praised nor blamed. The rest
    of an episode follows from the same observations, for the world throws no dice. (The groups of tree searches,
    TreeRPO, arXiv 2506.05183, found in plain samples.)
    """
    found = [np.zeros(len(one)) for one in said]
    together = [list(range(len(said)))]
    for place in range(max(map(len, said), default=0)):
        branches: list[list[int]] = []
        for members in together:
            base = float(np.mean([rewards[k] for k in members]))
            going: dict[int, list[int]] = {}
            for k in members:
                if place < len(said[k]):
                    going.setdefault(said[k][place], []).append(k)
            for branch in going.values():
                gain = float(np.mean([rewards[k] for k in branch])) - base
                for k in branch:
                    found[k][place] = gain
            branches += [branch for branch in going.values() if len(branch) > 1]
        together = branches
    return found


def weighed(due: NDArray[np.float64], least: float, blame: float) -> NDArray[np.float64]:
    """What is due to some tokens, [n], nothing where it is less than `least` either way, and `blame` times what is
    below nothing.

    Four boxes of one thing differ by chance, and following that costs the aim of a policy that aims well. And to blame
    a word makes all words likelier that nobody tried (likelihood displacement, arXiv 2410.08847; tapered negatives,
    TOPR, arXiv 2503.14286).
    """
    kept = np.where(np.abs(due) >= least, due, 0.0)
    return np.where(kept < 0, blame * kept, kept)


def telling(worth: Sequence[Sequence[float]], count: int) -> list[int]:
    """Which `count` of some groups are likeliest to differ, going by a few rewards of each: those that differ already,
    then those that went badly. In order of their numbers. (DAPO samples until a batch is full of groups that differ;
    this asks a little of many first.)"""
    order = sorted(range(len(worth)), key=lambda i: (-round(float(np.ptp(worth[i])), 1), float(np.mean(worth[i]))))
    return sorted(order[:count])


@dataclass(frozen=True, slots=True, eq=False)
class Surrogate:
    """Sums over tokens: `loss` (with gradients), and without: tokens `clipped`, `moved` = Σ(ratio − 1 − log ratio)."""

    loss: Tensor
    clipped: Tensor
    moved: Tensor


def surrogate(now: Tensor, then: Tensor, advantage: Tensor, clip: Clip) -> Surrogate:
    """The clipped objective of PPO and GRPO, negated and summed over tokens; divide by the batch's tokens.

    `now` and `then` [N] are log-probabilities under the model and when sampled, `advantage` [N] the episode's, at
    each of its tokens. Dividing by all tokens of the batch, not by each episode's own, is DAPO's token-level loss: a
    long episode's tokens weigh as much as a short one's.
    """
    ratio = torch.exp(now - then)
    bounded = ratio.clamp(1 - clip.low, 1 + clip.high)
    gain = torch.minimum(ratio * advantage, bounded * advantage)
    with torch.no_grad():
        clipped = (bounded * advantage < ratio * advantage).float().sum()
        moved = (ratio - 1 - (now - then)).sum()
    return Surrogate(-gain.sum(), clipped, moved)


def divergence(now: Tensor, reference: Tensor) -> Tensor:
    """Σ of the estimate r − 1 − log r of KL(model ‖ reference), r = p_reference / p_model: never negative, unbiased
    (Schulman 2020, "k3"; GRPO's own). Both [N] log-probabilities of sampled tokens."""
    gap = reference - now
    return (torch.exp(gap) - 1 - gap).sum()
