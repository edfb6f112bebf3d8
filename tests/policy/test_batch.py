"""Rows that join and leave at any time do not touch each other."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import torch
from tests.policy.tiny import first_turn

from rsagent.deadline import Deadline
from rsagent.policy.batch import Batch, Event, Job
from rsagent.policy.checkpoint import Checkpoint
from rsagent.policy.protocol import PolicyTurn, Sampling
from rsagent.policy.settings import LocalPolicySettings

ROWS = 4


@pytest.fixture
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


class Asked:
    """A job whose events are kept."""

    def __init__(self, seed: int, factor: int) -> None:
        self.events: list[Event] = []
        history = first_turn(seed, factor, "the red bell " * (1 + seed % 3))
        sampling = Sampling(temperature=float(seed % 2), seed=seed, max_tokens=2 + seed % 7 * 3, logprobs=True)
        self.job = Job(history, sampling, Deadline.never(), self.events.append)

    @property
    def tokens(self) -> tuple[int, ...]:
        turns = [event for event in self.events if isinstance(event, PolicyTurn)]
        assert len(turns) == 1
        return turns[0].token_ids


def alone(checkpoint: Checkpoint, seed: int) -> tuple[int, ...]:
    batch, asked = Batch(checkpoint, LocalPolicySettings()), Asked(seed, checkpoint.view.factor)
    batch.admit(asked.job)
    while batch.rows:
        batch.step()
    return asked.tokens


@pytest.mark.parametrize("cache_bytes", [0, 200_000])
@pytest.mark.usefixtures("inference")
def test_any_schedule_gives_what_each_turn_gives_alone(endless: Checkpoint, cache_bytes: int) -> None:
    dice = random.Random(cache_bytes)
    batch = Batch(endless, LocalPolicySettings(max_batch=ROWS, prefix_cache_bytes=cache_bytes))
    seeds = [dice.randrange(8) for _ in range(14)]
    waiting = [Asked(seed, endless.view.factor) for seed in seeds]
    everyone, dropped = list(waiting), set()
    while waiting or batch.rows:
        if waiting and len(batch.rows) < ROWS and dice.random() < 0.6:
            batch.admit(waiting.pop(0).job)
        if batch.rows and dice.random() < 0.05:
            victim = dice.choice(batch.rows).job
            victim.cancelled = True
            dropped.add(id(victim))
        batch.step()
        assert len(batch.rows) <= ROWS
    expected = {seed: alone(endless, seed) for seed in set(seeds)}
    for seed, asked in zip(seeds, everyone, strict=True):
        if id(asked.job) in dropped:
            assert not any(isinstance(event, PolicyTurn) for event in asked.events)
        else:
            assert asked.tokens == expected[seed]
    assert len(dropped) < len(everyone)


@pytest.mark.usefixtures("inference")
def test_an_expired_row_leaves_before_the_next_step(endless: Checkpoint) -> None:
    batch, asked = Batch(endless, LocalPolicySettings()), Asked(6, endless.view.factor)
    batch.admit(asked.job)
    asked.job.deadline = Deadline.after(0)
    batch.step()
    assert not batch.rows
    assert len(batch.prefixes) == 0


@pytest.mark.usefixtures("inference")
def test_a_listener_that_is_gone_cancels_its_row(endless: Checkpoint) -> None:
    def closed(_: Event) -> None:
        raise RuntimeError("Event loop is closed")

    batch, asked = Batch(endless, LocalPolicySettings()), Asked(6, endless.view.factor)
    asked.job.emit = closed
    batch.admit(asked.job)
    while batch.rows:
        batch.step()
    assert asked.job.cancelled
