"""Pictures of dashboards where there is no Grafana: the series of each panel, drawn by matplotlib.

They show what the panels ask and what Prometheus answers, in their order and size, and not how Grafana looks.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.prometheus import Prometheus

COLUMNS, ROW = 24, 0.42
"""Grafana's grid: columns across, and inches of a row of it here."""
STEP = 2.0
LONGEST = 28

_BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def draw(boards: dict[str, dict[str, Any]], source: Prometheus, seconds: float, folder: Path) -> None:
    """A PNG for each dashboard of the last `seconds`, named by its uid."""
    folder.mkdir(parents=True, exist_ok=True)
    for title, board in boards.items():
        _draw(title, board["panels"], source, seconds).savefig(folder / f"{board['uid']}.png", dpi=80)


def _draw(title: str, panels: list[dict[str, Any]], source: Prometheus, seconds: float) -> Figure:
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = Figure(figsize=(15, ROW * height + 0.6), facecolor="#f4f5f5")
    figure.suptitle(
        f"{title}: series of a live run, drawn by matplotlib", fontsize=12, y=1 - 0.2 / figure.get_figheight()
    )
    top = 1 - 0.5 / figure.get_figheight()
    for panel in panels:
        where = panel["gridPos"]
        left, wide = where["x"] / COLUMNS, where["w"] / COLUMNS
        bottom, high = top * (1 - (where["y"] + where["h"]) / height), top * where["h"] / height
        if panel["type"] == "row":
            figure.text(left + 0.01, bottom, panel["title"], fontsize=11, weight="bold")
        else:
            _panel(figure, (left + 0.035, bottom + 0.22 * high, wide - 0.045, 0.58 * high), panel, source, seconds)
    return figure


def _panel(
    figure: Figure, box: tuple[float, float, float, float], panel: dict[str, Any], source: Prometheus, seconds: float
) -> None:
    axes = figure.add_axes(box)
    axes.set_title(panel["title"], fontsize=9, loc="left")
    axes.tick_params(labelsize=7)
    now, unit = time.time(), panel["fieldConfig"]["defaults"].get("unit", "")
    for target in panel["targets"]:
        expr = target["expr"].replace("$__rate_interval", "30s")
        if panel["type"] == "stat":
            _number(axes, source.ask(expr), unit)
            continue
        for row in source.series(expr, now - seconds, now, STEP):
            axes.plot(*_points(row, now), label=_legend(target.get("legendFormat", ""), row["metric"]), linewidth=1.2)
    if panel["type"] != "stat":
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(lambda value, _: _written(value, unit))
        axes.legend(fontsize=6, loc="upper left", ncols=3, frameon=False)


def _number(axes: Axes, values: list[float], unit: str) -> None:
    axes.axis("off")
    axes.text(0, 0.4, _written(values[0], unit) if values else "no data", fontsize=20, va="center")


def _points(row: dict[str, Any], now: float) -> tuple[list[float], list[float]]:
    return [stamp - now for stamp, _ in row["values"]], [float(value) for _, value in row["values"]]


def _legend(pattern: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        pattern = pattern.replace(f"{{{{{name}}}}}", value)
    return pattern[:LONGEST]


def _written(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value:.0%}"
    if unit in ("bytes", "Bps"):
        size, name = next(((size, name) for size, name in _BYTES if value >= size), (1.0, "B"))
        return f"{value / size:.3g} {name}" + ("/s" if unit == "Bps" else "")
    return f"{value:.3g}" + {"s": " s", "reqps": "/s", "ops": "/s"}.get(unit, "")
