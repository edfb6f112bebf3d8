from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from rsagent.training.policy.run import Run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in seconds, that a test sets by its only element."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_what_comes_before_the_first_step_is_not_a_runs_time(tmp_path: Path, clock: list[float]) -> None:
    run = Run(tmp_path, "vision", 1.0)
    clock[0] += 600  # something is loaded
    run.begin()
    assert run.progress == 0
    clock[0] += 30
    assert run.progress == 0.5


def test_a_run_goes_on_with_the_minutes_that_are_left(tmp_path: Path, clock: list[float]) -> None:
    first = Run(tmp_path, "vision", 1.0, step=7)
    first.begin()
    clock[0] += 45
    first.save(weights=torch.ones(2))
    again = Run(tmp_path, "vision", 1.0)
    clock[0] += 600
    state = again.resume()
    again.begin()
    assert state is not None
    assert state["weights"].tolist() == [1, 1]
    assert (again.step, again.progress) == (7, 0.75)
