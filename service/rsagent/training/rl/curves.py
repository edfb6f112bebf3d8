"""A run's curves as one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rsagent.training.rl.journal import read_figures

PANELS = (
    ("reward", "reward"),
    ("giou", "gIoU"),
    ("refused_present", "present, refused"),
    ("refused_absent", "absent, refused"),
    ("turns", "turns"),
    ("entropy", "entropy, nats a token"),
    ("alike", "groups rewarded alike"),
)
HELD_OUT = {"refused_present": "present_refused", "refused_absent": "absent_said_absent"}
"""What the figures of held-out requests are called that have another name there."""
ACROSS = 3
SMOOTH = 15


def draw(folder: Path, to: Path | None = None) -> Path:
    """Write `curves.png` into the run's folder (or `to`): each figure that the run has by step, thin, its running mean
    over 15 steps, and what was held out as dots. Raises FileNotFoundError where the run has no figures yet."""
    from matplotlib.figure import Figure

    lines = read_figures(folder)
    panels = [(name, title) for name, title in PANELS if series(lines, "train", name)[0]]
    rows = max(1, math.ceil(len(panels) / ACROSS))
    figure = Figure(figsize=(12, 3 * rows), layout="constrained")
    for number, (name, title) in enumerate(panels):
        axes = figure.add_subplot(rows, ACROSS, number + 1)
        steps, values = series(lines, "train", name)
        axes.plot(steps, values, linewidth=0.6, alpha=0.4)
        axes.plot(steps, smooth(values), label="sampled, training requests")
        held = series(lines, "held-out", HELD_OUT.get(name, name))
        if held[0]:
            axes.plot(*held, "o-", label="greedy, held-out requests")
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        if number == 0:
            axes.legend(fontsize=8)
    path = to or folder / "curves.png"
    figure.savefig(path, dpi=110)
    return path


def series(lines: Sequence[dict[str, Any]], kind: str, name: str) -> tuple[list[int], list[float]]:
    """Steps and values of one figure, where it was written."""
    found = [(line["step"], line[name]) for line in lines if line["kind"] == kind and name in line]
    return [step for step, _ in found], [value for _, value in found]


def smooth(values: Sequence[float], width: int = SMOOTH) -> list[float]:
    """Of each value the mean of the last `width` up to it."""
    return [float(np.mean(values[max(0, end - width) : end])) for end in range(1, len(values) + 1)]
