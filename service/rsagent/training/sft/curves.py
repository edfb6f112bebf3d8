"""A run's losses as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def draw(history: Sequence[dict[str, Any]], path: Path) -> Path:
    """Write the training and held-out losses of a Trainer's `log_history` to `path`, a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, label in (("loss", "training"), ("eval_loss", "held out")):
        points = [(line["step"], line[name]) for line in history if name in line]
        axes.plot([step for step, _ in points], [value for _, value in points], ".-", label=label)
    axes.set(title="cross-entropy of the policy's own tokens", xlabel="step", ylabel="nats a token")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)
    return path
