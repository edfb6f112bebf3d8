"""What one of each costs, from what whole rounds took; and that the capacity model reads it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from loadtests.bench import costs
from loadtests.bench.account import Account
from loadtests.bench.contenders import Hall, Played, Work
from loadtests.bench.measure import Numbers
from loadtests.bench.recording import Library
from loadtests.bench.scale import SHORT
from loadtests.capacity import Costs, Fleet, Measurement
from tests.loadtests.bench.staging import played, stage

ROUNDS = {
    "reading": [Played(2.0, {}, Account(episodes=1, prompt_tokens=1000, cached_tokens=600, completion_tokens=4))],
    "speaking": [Played(4.5, {}, Account(episodes=1, prompt_tokens=1000, cached_tokens=700, completion_tokens=100))],
    "prompts": [Played(5.0, {}, Account(encodes=4, decodes=16)), Played(1.0, {}, Account(decodes=16))],
}


class Staged:
    """A hall whose workers play what was written down."""

    @asynccontextmanager
    async def worker(self, role: str) -> AsyncIterator[Staged]:
        self._rounds = iter(ROUNDS[role])
        yield self

    async def play(self, work: Work) -> Played:
        return next(self._rounds)


async def test_each_cost_is_what_its_own_work_took(tmp_path: Path) -> None:
    fleet = Fleet(engines=1, replicas=2)
    hall, numbers = cast(Hall, Staged()), Numbers(Library(tmp_path), stage())
    found = await costs.costs(hall, numbers, SHORT, fleet, lambda _: None)
    assert found.prefill == pytest.approx(2.0 / 400)
    assert found.generate == pytest.approx((4.5 - 300 * 2.0 / 400) / 100)
    assert found.decode == pytest.approx(2 * 1.0 / 16), "two replicas worked for a second"
    assert found.encode == pytest.approx((2 * 5.0 - 2 * 1.0) / 4)


def test_the_capacity_model_reads_what_is_written(tmp_path: Path) -> None:
    each = Costs(prefill=0.001, generate=0.002, encode=0.1, decode=0.01, turn=0.0, request=0.0)
    fleet = Fleet(engines=1, replicas=1, cores=2.0)
    made = costs.measurement("a core", each, fleet, [played(1.0), played(1.2), played(1.4)])
    path = tmp_path / "COSTS.json"
    path.write_text(json.dumps(costs.document(made)))
    found = Measurement.read(path)
    assert found == made
    assert (found.episode.turns, found.episode.prompts, found.episode.images) == (4, 4, 1)
    assert (found.episode.prefilled_tokens, found.episode.generated_tokens) == (400, 160)
    assert found.reached() == pytest.approx(1.2 * (400 * 0.001 + 160 * 0.002))
