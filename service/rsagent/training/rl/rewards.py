"""What an episode is worth: small pure functions of its figures, and a table of weights.

Each takes a `Trace` and stays within the bounds its docstring gives. What is not there to be judged (no click made,
no mask shown) is worth 0, so that doing nothing gains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from rsagent.training.rl.trace import Trace

TIERS = ((0.8, 1.0), (0.7, 0.75), (0.5, 0.5))
GOOD = 0.8
"""The IoU from which on a mask is good enough to submit; the expert of the synthesis stops there, too."""


def form(trace: Trace) -> float:
    """Share of turns that are a thought and a valid call: 0..1 (Seg-Zero's two format rewards, as a share)."""
    if not trace.turns:
        return 0.0
    return 1.0 - (trace.malformed + trace.thoughtless) / trace.turns


def iou(trace: Trace) -> float:
    """IoU of what was submitted: 0..1; 0 for an absent target (`no_target` judges those)."""
    return trace.final


def tier(trace: Trace) -> float:
    """IoU in steps: above 0.8 → 1, 0.7 → 0.75, 0.5 → 0.5, else 0 (SAM-R1's tiers of 4, 3 and 2, divided by 4)."""
    return next((worth for least, worth in TIERS if trace.final > least), 0.0)


def improvement(trace: Trace) -> float:
    """What later masks gained over the best before them, summed: 0..1.

    MedSAM-Agent sums every positive ΔIoU, which swinging to and fro between two masks would farm; gains over the best
    so far add up to no more than best − first. Even so a poor first mask leaves more to gain: in the table it is worth
    no more than the price of the turn that it takes.
    """
    return max(0.0, max(trace.ious, default=0.0) - trace.ious[0]) if trace.ious else 0.0


def overshoot(trace: Trace) -> float:
    """−(best IoU shown − IoU submitted): −1..0 (MedSAM-Agent). Several masks together may beat each one: then 0."""
    return -max(0.0, max(trace.ious, default=0.0) - trace.final)


def waste(trace: Trace) -> float:
    """−(share of turns that repeated a call, or asked for a mask already shown): −1..0 (VisionReasoner's no-repeat;
    RSAgent's penalty on unnecessary calls)."""
    return -min(1.0, (trace.repeated + trace.redundant) / trace.turns) if trace.turns else 0.0


def length(trace: Trace) -> float:
    """−(turns): MedSAM-Agent takes 0.01 off for each; the weight is the price of a turn."""
    return -float(trace.turns)


def clicks(trace: Trace) -> float:
    """Right clicks less wrong ones, over all: −1..1. Right is a positive one in what is missing, a negative one in
    what is too much (IBISAgent)."""
    if not trace.clicks:
        return 0.0
    return sum(1 if click.right else -1 for click in trace.clicks) / len(trace.clicks)


def stop(trace: Trace) -> float:
    """Share of right decisions to stop or go on, over the masks looked at: 0..1 (SAM-Veteran's refine-vs-stop).

    After a mask it is right to submit when the best so far is good, and to go on when it is not. An episode that
    ended without submitting decided every time to go on.
    """
    if not trace.ious:
        return 0.0
    best = np.maximum.accumulate(trace.ious)
    stopped = np.zeros(len(best), dtype=np.bool_)
    stopped[-1] = trace.finished
    return float(np.mean(stopped == (best >= GOOD)))


def no_target(trace: Trace) -> float:
    """1 for saying of an absent target that it is absent, else 0."""
    return float(trace.refused and trace.absent)


def refusal(trace: Trace) -> float:
    """−1 for saying of a target that is there that it is absent, else 0.

    A wrong refusal already gives up what trying might have brought. At a weight of 1 the policy learned to try
    whatever it was asked for: of 40 absent targets it told 27 where it had told 32.
    """
    return -float(trace.refused and not trace.absent)


def incomplete(trace: Trace) -> float:
    """−1 for an episode that a budget ended, else 0: an answer that nobody submitted is flagged to the user."""
    return 0.0 if trace.finished or trace.refused else -1.0


REWARDS: Mapping[str, Callable[[Trace], float]] = MappingProxyType(
    {
        each.__name__: each
        for each in (
            form, iou, tier, improvement, overshoot, waste, length, clicks, stop, no_target, refusal,
            incomplete,
        )
    }
)  # fmt: skip

WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "form": 0.3,
        "iou": 1.0,
        "tier": 0.25,
        "improvement": 0.01,
        "overshoot": 0.2,
        "waste": 0.2,
        "length": 0.01,
        "clicks": 0.05,
        "stop": 0.1,
        "no_target": 1.0,
        "refusal": 0.25,
        "incomplete": 0.2,
    }
)
"""What each is worth. IoU and absence decide; the rest breaks ties among episodes that end alike."""


@dataclass(frozen=True, slots=True)
class Reward:
    """`parts` before weighing, by name; `total` the weighted sum."""

    total: float
    parts: Mapping[str, float]


def judge(trace: Trace, weights: Mapping[str, float] = WEIGHTS) -> Reward:
    """The reward of an episode. A name without a weight is measured all the same, and counts for nothing."""
    parts = {name: function(trace) for name, function in REWARDS.items()}
    return Reward(sum(weights.get(name, 0.0) * part for name, part in parts.items()), parts)


def weighed(changes: Mapping[str, float], weights: Mapping[str, float] = WEIGHTS) -> dict[str, float]:
    """The table with some weights changed. Raises ValueError for a name that no reward has."""
    unknown = sorted(set(changes) - set(REWARDS))
    if unknown:
        raise ValueError(f"no such reward: {', '.join(unknown)}; there are {', '.join(REWARDS)}")
    return {**weights, **changes}
