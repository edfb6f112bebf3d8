"""The plots of a run, from what was written as JSON: they can be drawn again without measuring again."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

SIZE = (7.0, 4.0)
DPI = 150


def draw(found: dict[str, Any], folder: Path) -> list[Path]:
    """Write what `report.document` returned as PNG files; those that it holds figures for."""
    made = []
    for name, parts, paint in (
        ("throughput", found["throughput"], _throughput),
        ("throughput-large", found["large_segmenter"]["throughput"], _throughput),
        ("latency", found["throughput"].get("service"), _latency),
        ("growth", found["growth_cpu_seconds"], _growth),
    ):
        if parts:
            figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
            paint(axes, parts)
            path = folder / f"{name}.png"
            figure.savefig(path, dpi=DPI)
            plt.close(figure)
            made.append(path)
    return made


def _throughput(axes: Axes, contenders: dict[str, Any]) -> None:
    names = list(contenders)
    rates = [[each["episodes_per_second"] for each in contenders[name]] for name in names]
    medians = [statistics.median(each) for each in rates]
    axes.barh(names, medians, color="#4878a8")
    for place, (median, each) in enumerate(zip(medians, rates, strict=True)):
        axes.plot(each, [place] * len(each), "o", color="black", markersize=3)
        axes.annotate(f"{median:.2f}", (max(each), place), (8, 0), textcoords="offset points", va="center")
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel("episodes of 4 turns a second (bar: median, dots: rounds)")


def _latency(axes: Axes, rounds: list[dict[str, Any]]) -> None:
    names = {"first_byte": "first byte", "first_mask": "first mask", "turn_gap": "between masks", "final": "whole"}
    for place, (name, _) in enumerate(names.items()):
        for one in rounds:
            spread = one["latency_seconds"].get(name, {})
            axes.plot(list(spread.values()), [place] * len(spread), "o-", color="#4878a8", markersize=4)
    axes.set_yticks(range(len(names)), list(names.values()))
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("seconds under full load (dots: p50, p95, p99 of each round)")


def _growth(axes: Axes, contenders: dict[str, dict[str, list[float]]]) -> None:
    for name, seconds in contenders.items():
        base = statistics.median(seconds["2"])
        turns = [int(each) for each in seconds]
        axes.plot(turns, [statistics.median(each) / base for each in seconds.values()], "o-", label=name)
    axes.plot([2, 8], [1, 4], "--", color="grey", label="linear in turns")
    axes.set_xticks([2, 4, 8])
    axes.set_xlabel("turns")
    axes.set_ylabel("CPU-seconds of an episode, over 2 turns")
    axes.legend()
