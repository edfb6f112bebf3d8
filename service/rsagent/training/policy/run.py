"""What the stages share: a folder with checkpoints and a log, a clock that ends the run, averages."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from rsagent.training.policy.together import agreed, rank


@dataclass
class Run:
    """One stage's run: trains for `minutes` of its own time from `begin` on, resumes where its checkpoint says."""

    folder: Path
    stage: str
    minutes: float
    step: int = 0
    spent: float = 0.0
    _since: float = field(default_factory=time.monotonic)
    _sums: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def path(self) -> Path:
        return self.folder / f"{self.stage}.pt"

    @property
    def progress(self) -> float:
        """Share of the run's minutes that are gone, 0..1, by the clock of process 0."""
        return agreed(min(1.0, (self.spent + time.monotonic() - self._since) / 60 / self.minutes))

    def begin(self) -> None:
        """Start the clock, once all is loaded and settled: a short run would else be over before its first step."""
        self._since = time.monotonic()

    def note(self, figures: Mapping[str, float]) -> None:
        """Collect figures of a step for the next report."""
        for key, value in figures.items():
            self._sums[key].append(float(value))

    def report(self, **extra: float) -> None:
        """Write means since the last report to the log and the terminal."""
        figures = {key: round(sum(values) / len(values), 4) for key, values in self._sums.items()}
        self._sums.clear()
        if rank():
            return
        minutes = round((self.spent + time.monotonic() - self._since) / 60, 2)
        line = {"stage": self.stage, "step": self.step, "minutes": minutes, **figures}
        line |= {key: round(value, 4) for key, value in extra.items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{self.stage}.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        print(" ".join(f"{key} {value}" for key, value in line.items()), flush=True)

    def save(self, **state: Any) -> None:
        """Write a checkpoint; a crash meanwhile leaves the old one."""
        if rank():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        spent = self.spent + time.monotonic() - self._since
        partial = self.path.with_suffix(".partial")
        torch.save({"step": self.step, "spent": spent, **state}, partial)
        partial.rename(self.path)

    def resume(self) -> dict[str, Any] | None:
        """The state of an earlier run of this stage, whose clock goes on; None where there is none."""
        if not self.path.exists():
            return None
        state: dict[str, Any] = torch.load(self.path, weights_only=True)
        self.step, self.spent = state["step"], state["spent"]
        return state
