"""One batch of groups made into updates of the weights."""

from __future__ import annotations

import math
import random
from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rsagent.policy.prompt import PromptEncoder
from rsagent.training.chat.passage import Passage
from rsagent.training.chat.reading import Reader, Told
from rsagent.training.rl.objective import advantages, branching, divergence, surrogate, weighed
from rsagent.training.rl.plan import Plan
from rsagent.training.rl.rewards import Reward
from rsagent.training.rl.rollout import Rollout

KEPT = 512
"""Lessons of earlier steps that are kept where others led."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What an episode said, and how much better (or worse) that was than its group: `advantage` float32 [N], of each
    token that is learned. `led` by another than the policy."""

    passage: Passage
    advantage: Tensor
    led: bool = False

    @property
    def tokens(self) -> int:
        """How many of its tokens are learned."""
        return len(self.advantage)


def lessons_of(
    groups: Sequence[Sequence[Rollout]],
    rewards: Sequence[Sequence[Reward]],
    plan: Plan,
    encoder: PromptEncoder,
    ends: Collection[int],
) -> list[Lesson]:
    """The lessons of a batch: of the episodes that differ from their group, the `plan.keep` that differ most. A group
    that was rewarded alike throughout teaches nothing, but where another led an episode to its end: what was said from
    there on is worth what it gained. The group is not compared with it: it begins with their own words, and blamed for
    what followed they would lose the first look as well (refusals of what is there rose from 0.17 to 0.3 that way)."""
    found: list[tuple[Rollout, NDArray[np.float64]]] = []
    for members, worth in zip(groups, rewards, strict=True):
        pairs = list(zip(members, (reward.total for reward in worth), strict=True))
        own = [(rollout, total) for rollout, total in pairs if rollout.led is None]
        if own:
            totals = [total for _, total in own]
            found += zip((rollout for rollout, _ in own), _due([one.said for one, _ in own], totals, plan), strict=True)
            mean = float(np.mean(totals))
            found += [(rollout, np.array([total - mean])) for rollout, total in pairs if rollout.led is not None]
    telling = sorted((pair for pair in found if pair[1].any()), key=lambda pair: -float(np.abs(pair[1]).max()))
    kept = telling[: math.ceil(plan.keep * len(telling))]
    return [lesson for rollout, due in kept for lesson in _lessons(rollout, due, encoder, ends)]


def _due(said: Sequence[Sequence[int]], totals: Sequence[float], plan: Plan) -> list[NDArray[np.float64]]:
    """What is due to each token that the episodes of a group sampled."""
    if plan.credit == "branch":
        found = branching(said, totals)
    else:
        better = advantages(totals, plan.scale)
        found = [np.full(len(one), by) for one, by in zip(said, better, strict=True)]
    return [weighed(due, plan.least, plan.blame) for due in found]


def _lessons(
    rollout: Rollout, due: NDArray[np.float64], encoder: PromptEncoder, ends: Collection[int]
) -> Iterator[Lesson]:
    """An episode's passages, up to the last turn to which something is due; `due` [n] of its tokens, or [1] of all."""
    passages = rollout.passages(encoder, ends, until=int(np.flatnonzero(due)[-1]))
    counts = [int(passage.learn[1:].sum()) for passage in passages]
    each = torch.from_numpy(np.resize(due.astype(np.float32), sum(counts)))
    for passage, advantage in zip(passages, torch.split(each, counts), strict=True):
        yield Lesson(passage, advantage, rollout.led is not None)


class Learner:
    """The weights that learn, and their optimiser. `reference` reads with the weights to stay near, if any."""

    def __init__(self, reader: Reader, parameters: Sequence[Tensor], plan: Plan, reference: Reader | None) -> None:
        self._reader, self._reference, self._plan = reader, reference, plan
        self._parameters = list(parameters)
        self.optimiser = torch.optim.AdamW(self._parameters, lr=plan.lr, betas=(0.9, 0.99), weight_decay=0.0)
        self.mean: list[Tensor] = []
        self.counted = 0
        self._led: deque[Lesson] = deque(maxlen=KEPT)

    @torch.no_grad()
    def count(self) -> None:
        """Let the weights as they are now enter their mean."""
        self.counted += 1
        if not self.mean:
            self.mean = [parameter.detach().clone() for parameter in self._parameters]
        for mean, parameter in zip(self.mean, self._parameters, strict=True):
            mean.lerp_(parameter, 1 / self.counted)

    @torch.no_grad()
    def settle(self) -> None:
        """Take the mean of the weights that were counted, where some were."""
        for mean, parameter in zip(self.mean, self._parameters, strict=False):
            parameter.copy_(mean)

    def learn(self, lessons: Sequence[Lesson], rate: float, seed: int) -> dict[str, float]:
        """`plan.passes` times `plan.updates` updates, each from its share of the lessons; means over tokens.

        Where others led, `plan.replay` times as many such lessons of earlier steps come along: no policy sampled them,
        so that they are as good as new. A run that is resumed begins to gather them again.
        """
        sums: defaultdict[str, float] = defaultdict(float)
        again = {image.uuid for lesson in self._led for image in lesson.passage.images}
        for reader in (self._reader, self._reference):
            if reader is not None:
                reader.forget(but=again)  # other pictures of earlier steps do not come again
        for group in self._optimiser_groups():
            group["lr"] = rate
        led = [lesson for lesson in lessons if lesson.led]
        known = min(len(self._led), round(self._plan.replay * len(led)))
        lessons = [*lessons, *random.Random(seed).sample(list(self._led), known)]
        if self._plan.replay:
            self._led.extend(led)
        seeds = (seed * self._plan.passes + number for number in range(self._plan.passes))
        shares = [share for each in seeds for share in _shares(lessons, self._plan.updates, each)]
        for number, share in enumerate(shares):
            for name, value in self._update(share, first=number == 0).items():
                sums[name] += value
        tokens, updates = max(1.0, sums.pop("tokens", 0.0)), max(1, len(shares))
        first = max(1.0, sums.pop("first", 0.0))
        found = {"norm": sums.pop("norm", 0.0) / updates, "gap": sums.pop("gap", 0.0) / first}
        return found | {name: value / tokens for name, value in sums.items()} | {"tokens": tokens}

    def _optimiser_groups(self) -> list[dict[str, float]]:
        return self.optimiser.param_groups

    def _update(self, share: Sequence[Lesson], *, first: bool) -> dict[str, float]:
        """One step of the optimiser; sums over the share's tokens."""
        tokens = sum(lesson.tokens for lesson in share)
        sums: defaultdict[str, float] = defaultdict(float)
        for lessons in _rows(share, self._plan.rows):
            told = self._reader.tell([lesson.passage for lesson in lessons], self._plan.temperature)
            loss, figures = self._loss(lessons, told)
            (loss / tokens).backward()  # type: ignore[no-untyped-call]
            for name, value in figures.items():
                sums[name] += float(value)
        norm = float(nn.utils.clip_grad_norm_(self._parameters, self._plan.max_norm))
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        gap = {"gap": sums.pop("gap"), "first": float(tokens)} if first else {}
        sums.pop("gap", None)
        return {**sums, **gap, "tokens": float(tokens), "norm": norm}

    def _loss(self, lessons: Sequence[Lesson], told: Told) -> tuple[Tensor, dict[str, Tensor]]:
        device = told.logprobs.device
        then = torch.cat([lesson.passage.logprobs[1:][lesson.passage.learn[1:]] for lesson in lessons]).to(device)
        sampled = ~then.isnan()
        then = torch.where(sampled, then, told.logprobs.detach())  # who was led said it: as if sampled just now
        worth = torch.cat([lesson.advantage for lesson in lessons]).to(device)
        found = surrogate(told.logprobs, then, worth, self._plan.clip)
        figures = {
            "loss": found.loss.detach(),
            "clipped": found.clipped,
            "moved": found.moved,
            "entropy": told.entropy.sum(),
            "gap": (told.logprobs.detach() - then).abs().sum(),
        }
        if self._reference is None:
            return found.loss, figures
        with torch.no_grad():
            near = self._reference.tell([lesson.passage for lesson in lessons], self._plan.temperature).logprobs
        apart = divergence(told.logprobs[sampled], near[sampled])  # an estimate that holds of samples alone
        return found.loss + self._plan.kl * apart, {**figures, "kl": apart.detach()}


def _shares(lessons: Sequence[Lesson], updates: int, seed: int) -> Iterator[list[Lesson]]:
    """The lessons shuffled and dealt out; fewer shares where there are fewer lessons."""
    mixed = random.Random(seed).sample(list(lessons), len(lessons))
    for number in range(min(updates, len(mixed))):
        yield mixed[number::updates]


def _rows(lessons: Sequence[Lesson], rows: int) -> Iterator[list[Lesson]]:
    """Some at a time, those of like length together: little is padded."""
    ordered = sorted(lessons, key=lambda lesson: len(lesson.passage))
    for start in range(0, len(ordered), rows):
        yield ordered[start : start + rows]
