"""A line for each run, as SVG."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

COLOURS = ("#2a6fdb", "#d9480f", "#2b8a3e", "#9c36b5", "#e67700", "#0b7285")
BOTTOM, HIGH, LEFT, WIDE = 176, 160, 60, 530


def chart(runs: Mapping[str, Sequence[float]]) -> str:
    """gIoU after at most 1, 2, … turns; nothing where no run has two turns."""
    most = max((len(values) for values in runs.values()), default=0)
    if most < 2:
        return ""
    top = max(0.1, *(value for values in runs.values() for value in values))
    named = enumerate((name, values) for name, values in runs.items() if values)
    lines = "".join(_line(name, values, most, top, COLOURS[n % len(COLOURS)]) for n, (name, values) in named)
    turns = "".join(_words(_x(turn, most), 196, str(turn + 1), "middle") for turn in range(most))
    marks = "".join(_mark(share * top, top) for share in (0.0, 0.5, 1.0))
    return f'<svg viewBox="0 0 760 204" role="img" aria-label="gIoU by turn">{marks}{lines}{turns}</svg>'


def _line(name: str, values: Sequence[float], most: int, top: float, colour: str) -> str:
    places = [(_x(turn, most), _y(value, top)) for turn, value in enumerate(values)]
    points = " ".join(f"{x},{y}" for x, y in places)
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>' for x, y in places)
    label = _words(places[-1][0] + 10, places[-1][1] + 4, name, "start", colour)
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}{label}'


def _mark(value: float, top: float) -> str:
    y = _y(value, top)
    return f'<path d="M40 {y}H600" class="grid"/>' + _words(4, y + 4, f"{value:.2f}", "start")


def _words(x: float, y: float, words: str, anchor: str, colour: str = "currentColor") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{html.escape(words)}</text>'


def _x(turn: int, most: int) -> float:
    return round(LEFT + WIDE * turn / (most - 1), 1)


def _y(value: float, top: float) -> float:
    return round(BOTTOM - HIGH * value / top, 1)
