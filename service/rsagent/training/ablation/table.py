"""The table out of the rows of evaluations, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rsagent.evaluation import Gain, Report
from rsagent.training.ablation.arms import Arm

HEAD = (
    "what was trained", "gIoU (95 %)", "gain, points (95 %)", "over", "absent said absent", "present not refused",
    "turns of solved", "malformed",
)  # fmt: skip


def gains(arms: Sequence[Arm], reports: Mapping[str, Report]) -> dict[str, Gain]:
    """By row what it gains over the row it is compared with, on the same requests, where both have been measured."""
    pairs = [arm for arm in arms if arm.name in reports and arm.over in reports]
    found = {arm.name: reports[arm.name].over(reports[arm.over]).get("all") for arm in pairs}
    return {name: gain for name, gain in found.items() if gain is not None}


def markdown(arms: Sequence[Arm], reports: Mapping[str, Report]) -> str:
    """A row for each arm; dashes where it has not been measured yet."""
    better = gains(arms, reports)
    rows = [HEAD, ("---",) * len(HEAD)]
    for arm in arms:
        report = reports.get(arm.name)
        rows.append((arm.name, *_cells(report, better.get(arm.name), arm.over)))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def document(arms: Sequence[Arm], reports: Mapping[str, Report]) -> dict[str, Any]:
    """The same as plain JSON values, with all figures of "all" and the command that trained each row."""
    better = gains(arms, reports)
    return {
        arm.name: {
            "trained by": " ".join(arm.trains),
            "over": arm.over,
            "gain": asdict(better[arm.name]) if arm.name in better else None,
            "figures": asdict(reports[arm.name].all),
        }
        for arm in arms
        if arm.name in reports
    }


def _cells(report: Report | None, gain: Gain | None, over: str) -> tuple[str, ...]:
    if report is None:
        return ("–",) * (len(HEAD) - 1)
    found = report.all
    low, high = found.giou_95
    return (
        f"{found.giou:.3f} ({low:.2f}–{high:.2f})",
        "–" if gain is None else f"{_points(gain.gain)} ({' … '.join(_points(end) for end in gain.gain_95)})",
        "–" if gain is None else over,
        _number(found.absent_said_absent, 3),
        _number(found.present_not_refused, 3),
        _number(found.turns_solved, 2),
        _number(found.malformed_per_turn, 4),
    )


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
