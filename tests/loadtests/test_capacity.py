"""The capacity model: its arithmetic, its limits, and its command."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from loadtests.capacity import (
    Costs,
    Episode,
    Fleet,
    Measurement,
    cache_bytes,
    capacity,
    divide,
    main,
    needed,
)
from typer.testing import CliRunner

EPISODE = Episode(turns=4, prompts=3, images=1, prefilled_tokens=1000, generated_tokens=200)
COSTS = Costs(prefill=1e-4, generate=1e-3, encode=0.1, decode=0.02, turn=0.004, request=0.004)

POSITIVE = st.floats(1e-3, 1e3)
EPISODES = st.builds(Episode, *[POSITIVE] * 5)
COST = st.builds(Costs, *[POSITIVE] * 6)


def test_the_parts_of_an_episode() -> None:
    assert COSTS.policy(EPISODE) == pytest.approx(0.1 + 0.2)
    assert COSTS.segmenter(EPISODE) == pytest.approx(0.1 + 0.06)
    assert COSTS.segmenter(EPISODE, lost=1.0) == pytest.approx(0.4 + 0.06)
    assert COSTS.orchestrator(EPISODE) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("fleet", "rate", "bottleneck"),
    [
        (Fleet(engines=3, replicas=8), 10.0, "policy"),
        (Fleet(engines=30, replicas=8), 50.0, "segmenter"),
        (Fleet(engines=30, replicas=80, cores=1), 50.0, "orchestrator"),
        (Fleet(shared=1), 1 / 0.46, "units"),
        (Fleet(machine=2), 2 / 0.48, "cores"),
    ],
)
def test_the_fullest_part_bounds(fleet: Fleet, rate: float, bottleneck: str) -> None:
    found = capacity(fleet, EPISODE, COSTS, load=1.0)
    assert found.rate == pytest.approx(rate)
    assert found.bottleneck == bottleneck
    assert capacity(fleet, EPISODE, COSTS, load=0.5).rate == pytest.approx(rate / 2)


@given(EPISODES, COST, st.integers(2, 40))
def test_the_division_is_the_best_and_more_units_serve_no_less(episode: Episode, costs: Costs, units: int) -> None:
    best = divide(units, episode, costs)
    assert best.engines + best.replicas == units
    rate = capacity(best, episode, costs).rate
    for engines in range(1, units):
        assert capacity(Fleet(engines, units - engines), episode, costs).rate <= rate
    assert capacity(divide(units + 1, episode, costs), episode, costs).rate >= rate
    ideal = capacity(Fleet(shared=units), episode, costs).rate
    assert rate <= ideal * (1 + 1e-9)


@given(EPISODES, COST, POSITIVE)
def test_what_is_needed_serves(episode: Episode, costs: Costs, rate: float) -> None:
    fleet = needed(rate, episode, costs)
    assert capacity(fleet, episode, costs).rate >= rate * (1 - 1e-9)
    for part in ("engines", "replicas", "cores"):
        less = replace(fleet, **{part: getattr(fleet, part) - 1})
        assert capacity(less, episode, costs).rate < rate * (1 + 1e-9)


def test_a_part_that_costs_nothing_bounds_nothing() -> None:
    free = replace(COSTS, encode=0, decode=0, turn=0, request=0)
    assert capacity(Fleet(engines=1, replicas=0), EPISODE, free, load=1.0).bottleneck == "policy"


def test_caches_hold_what_is_under_way() -> None:
    assert cache_bytes(rate=10, seconds=6, images=1, embedding=4 << 20, replicas=4) == 60 * (1 << 20)


@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_nonsense_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"Costs\.encode"):
        replace(COSTS, encode=value)


def test_the_command(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(main)
    file, run = tmp_path / "costs.json", CliRunner()
    written = {"unit": "a GPU", "episode": asdict(EPISODE), "costs": asdict(COSTS)}
    file.write_text(json.dumps(written))
    shown = run.invoke(app, [str(file), "--units", "1,3", "--rate", "10"])
    assert shown.exit_code == 0
    assert "shared" in shown.output
    assert "10 requests/s: 4 for the policy, 2 for the segmenter, 1 cores" in shown.output.replace("\n", " ")
    assert run.invoke(app, [str(file), "--check", "0.5"]).exit_code == 1, "nothing was measured to check"
    file.write_text(json.dumps({**written, "fleet": {"engines": 3, "replicas": 8}, "rate": 9.0}))
    assert Measurement.read(file).reached() == pytest.approx(0.9)
    assert run.invoke(app, [str(file), "--check", "0.85"]).exit_code == 0
    assert run.invoke(app, [str(file), "--check", "0.95"]).exit_code == 1
