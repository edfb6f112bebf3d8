"""Play samples through a runner, many at once, and score what comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rsagent.agent.actions import Malformed, Zoom
from rsagent.agent.runner import Runner, play_to_end
from rsagent.agent.state import Budget, EpisodeResult
from rsagent.deadline import Deadline
from rsagent.evaluation.samples import Sample
from rsagent.masks.metrics import overlap
from rsagent.policy.protocol import Sampling


@dataclass(frozen=True, slots=True)
class Played:
    """One sample's figures. `iou_by_mask` are the IoUs of all masks the policy was shown, in order; `intersection`
    and `union` are pixels of the submitted mask against the truth."""

    name: str
    kind: str
    query: str
    small: bool
    absent: bool
    stop: str
    turns: int
    malformed: int
    zooms: int
    encodes: int
    iou: float
    intersection: int
    union: int
    iou_by_mask: tuple[float, ...]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float

    @property
    def said_absent(self) -> bool:
        return self.stop == "no_target"


def score(sample: Sample, result: EpisodeResult, seconds: float) -> Played:
    """The figures of an ended episode. An episode that failed or submitted nothing, with a target present, has IoU 0;
    saying `no_target` of an absent one has IoU 1 (both masks are empty); any other end on an absent one has 0."""
    turns = result.state.turns
    counted = overlap(result.union, sample.truth)
    absent = not sample.truth.any()
    iou = float(result.stop == "no_target") if absent else counted.iou
    return Played(
        sample.name, sample.kind, sample.query, sample.small, absent,
        stop=result.stop.value,
        turns=len(turns),
        malformed=sum(isinstance(turn.action, Malformed) for turn in turns),
        zooms=sum(isinstance(turn.action, Zoom) for turn in turns),
        encodes=sum(turn.encoded for turn in turns),
        iou=iou,
        intersection=counted.intersection,
        union=counted.union,
        iou_by_mask=tuple(overlap(record.mask, sample.truth).iou for record in result.state.masks),
        prompt_tokens=sum(turn.reply.prompt_tokens for turn in turns),
        cached_tokens=sum(turn.reply.cached_tokens for turn in turns),
        completion_tokens=sum(turn.reply.completion_tokens for turn in turns),
        seconds=seconds,
    )  # fmt: skip


async def play(
    runner: Runner,
    samples: Sequence[Sample],
    budget: Budget,
    *,
    at_once: int = 8,
    deadline: float = 120.0,
    done: Callable[[Played], None] = lambda _: None,
) -> list[Played]:
    """Every sample once, `at_once` at a time, in the samples' order. `done` is told of each as it ends."""
    gate = asyncio.Semaphore(at_once)

    async def one(sample: Sample) -> Played:
        async with gate:
            started = time.perf_counter()
            events = runner.play(
                sample.image, sample.query, budget=budget, deadline=Deadline.after(deadline), sampling=Sampling()
            )
            result = (await play_to_end(events)).result
            played = score(sample, result, time.perf_counter() - started)
            done(played)
            return played

    return list(await asyncio.gather(*map(one, samples)))


def best_of(played: Played) -> float:
    """The best IoU that submitting one of the shown masks would have had: the oracle to compare with."""
    return float(np.max(played.iou_by_mask, initial=played.iou))
