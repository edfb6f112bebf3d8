"""A run's folder: its clock, its checkpoint, its figures as JSON lines and for TensorBoard."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rsagent.training.rl.plan import Plan

CHECKPOINT = "rl.pt"
FIGURES = "rl.jsonl"


class Journal:
    """Opens `folder` and goes on from what is there. `tensorboard --logdir FOLDER` shows the curves live."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._plan = folder, plan
        self.state: dict[str, Any] | None = None
        if (folder / CHECKPOINT).exists():
            self.state = torch.load(folder / CHECKPOINT, weights_only=True)
        self.step = int(self.state["step"]) if self.state else 0
        self._before = float(self.state["seconds"]) if self.state else 0.0
        self._since = self._saved = self._watched = time.monotonic()
        self._board = SummaryWriter(str(folder))

    @property
    def seconds(self) -> float:
        """The run's own time, earlier sittings included."""
        return self._before + time.monotonic() - self._since

    @property
    def progress(self) -> float:
        """0..1: by steps or by the clock, whichever is further."""
        return min(1.0, max(self.step / self._plan.steps, self.seconds / 60 / self._plan.minutes))

    def save_due(self) -> bool:
        return time.monotonic() - self._saved > 60 * self._plan.save

    def watch_due(self) -> bool:
        return time.monotonic() - self._watched > 60 * self._plan.watch

    def save(self, **state: Any) -> None:
        """Write the checkpoint; a crash meanwhile leaves the old one."""
        partial = self.folder / (CHECKPOINT + ".partial")
        torch.save({"step": self.step, "seconds": self.seconds, **state}, partial)
        partial.replace(self.folder / CHECKPOINT)
        self._saved = time.monotonic()

    def write(self, kind: str, figures: Mapping[str, float]) -> None:
        """Figures of this step: one line of JSON, one point a curve. `kind` is "train" or "held-out"."""
        line = {"kind": kind, "step": self.step, "minutes": round(self.seconds / 60, 2)}
        line |= {name: round(value, 5) for name, value in figures.items()}
        with (self.folder / FIGURES).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        for name, value in figures.items():
            self._board.add_scalar(f"{kind}/{name}", value, self.step)
        self._board.flush()
        if kind == "held-out":
            self._watched = time.monotonic()

    def close(self) -> None:
        self._board.close()


def read_figures(folder: Path) -> list[dict[str, Any]]:
    """All lines of a run's figures. Raises FileNotFoundError, naming the file, where there are none."""
    lines = (folder / FIGURES).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
