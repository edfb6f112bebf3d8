"""All figures of a run, by kind of request, and of several runs beside each other: as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from rsagent.evaluation.figures import Figures, Gain, figures, gain
from rsagent.evaluation.score import Row

ALL = "all"
SMALL = "small targets"


@dataclass(frozen=True)
class Report:
    """The rows of one run over at least one sample, in the samples' order, and what follows from them."""

    rows: tuple[Row, ...] = field(repr=False)

    @cached_property
    def groups(self) -> dict[str, tuple[Row, ...]]:
        """Everything that does not stand aside ("all"), each kind, small targets, each tag; none without rows."""
        counted = [row for row in self.rows if not row.aside]
        found = {ALL: counted or list(self.rows)}
        for kind in sorted({row.kind for row in self.rows}):
            found[kind] = [row for row in self.rows if row.kind == kind]
        found[SMALL] = [row for row in counted if row.small]
        for tag in sorted({tag for row in self.rows for tag in row.tags}):
            found[tag] = [row for row in self.rows if tag in row.tags]
        return {name: tuple(rows) for name, rows in found.items() if rows}

    @cached_property
    def figures(self) -> dict[str, Figures]:
        """Of each group, "all" first."""
        return {name: figures(rows) for name, rows in self.groups.items()}

    @property
    def all(self) -> Figures:
        return self.figures[ALL]

    @property
    def giou(self) -> float:
        """Mean of the samples' IoUs, 0 … 1."""
        return self.all.giou

    @property
    def ciou(self) -> float:
        """Sum of intersections over sum of unions, 0 … 1."""
        return self.all.ciou

    @property
    def markdown(self) -> str:
        """A table of the groups."""
        return table({"gIoU (95 %)": self})

    def over(self, other: Report) -> dict[str, Gain]:
        """What this run gains over another on the samples of both, by group."""
        gains = {name: gain(rows, other.groups[name]) for name, rows in self.groups.items() if name in other.groups}
        return {name: found for name, found in gains.items() if found is not None}

    def as_json(self) -> dict[str, Any]:
        """The figures of all groups, without the rows."""
        return {name: asdict(found) for name, found in self.figures.items()}


def table(runs: Mapping[str, Report]) -> str:
    """A Markdown table: a row for each group, a gIoU column for each run (mean and 95 % interval), and with two runs or
    more, what each later one gains over the first. `samples` is scored/total where some have no answer."""
    reports = list(runs.values())
    gains = [report.over(reports[0]) for report in reports[1:]]
    head = ["requests", "samples", *runs, *(f"gain of {name}" for name in list(runs)[1:])]
    lines = [_line(head), _line(["---"] * len(head))]
    for group in dict.fromkeys(name for report in reports for name in report.groups):
        found = [report.figures.get(group) for report in reports]
        cells = [_giou(one) for one in found] + [_gain(one.get(group)) for one in gains]
        lines.append(_line([group, _samples(found), *cells]))
    return "\n".join(lines)


_OVERALL: tuple[tuple[str, str], ...] = (
    ("gIoU", "giou:3"),
    ("cIoU", "ciou:3"),
    ("gIoU of the best mask shown (oracle)", "oracle_giou:3"),
    ("solved (IoU ≥ 0.5)", "solved:3"),
    ("absent said absent", "absent_said_absent:3"),
    ("present not refused", "present_not_refused:3"),
    ("malformed calls, share of turns", "malformed_per_turn:4"),
    ("turns", "turns:2"),
    ("turns of solved episodes", "turns_solved:2"),
    ("zooms asked for", "zooms:2"),
    ("image encodes", "encodes:2"),
    ("prompt tokens", "prompt_tokens:0"),
    ("of them cached", "cached_tokens:0"),
    ("sampled tokens", "completion_tokens:0"),
    ("seconds, mean", "seconds:2"),
    ("seconds, p95", "seconds_95:2"),
)


def overall(runs: Mapping[str, Report]) -> str:
    """A Markdown table of how the episodes of "all" went: a row for each figure, a column for each run."""
    found = [report.all for report in runs.values()]
    lines = [_line(["all requests", *runs]), _line(["---"] * (len(runs) + 1))]
    lines.append(_line(["scored / total", *(f"{one.scored} / {one.total}" for one in found)]))
    for words, spelled in _OVERALL:
        name, digits = spelled.split(":")
        lines.append(_line([words, *(_number(getattr(one, name), int(digits)) for one in found)]))
    lines.append(_line(["stops", *(_listed(one.stops) for one in found)]))
    if any(one.errors for one in found):
        lines.append(_line(["errors", *(_listed(one.errors) for one in found)]))
    lines.append(
        _line(["IoU after turn 1, 2, …", *(" ".join(f"{iou:.3f}" for iou in one.iou_by_turn) for one in found)])
    )
    return "\n".join(lines)


def _samples(found: Sequence[Figures | None]) -> str:
    there = [one for one in found if one is not None]
    total, scored = max(one.total for one in there), min(one.scored for one in there)
    return str(total) if scored == total else f"{scored}/{total}"


def _giou(found: Figures | None) -> str:
    return "–" if found is None else f"{found.giou:.3f} ({found.giou_95[0]:.2f}–{found.giou_95[1]:.2f})"


def _gain(found: Gain | None) -> str:
    return "–" if found is None else f"{found.gain:+.3f} ({found.gain_95[0]:+.2f}…{found.gain_95[1]:+.2f})"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "–"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
