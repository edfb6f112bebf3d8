"""Figures of played samples: by kind of request, with bootstrap intervals, as JSON and as a Markdown table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rsagent.evaluation.play import Played, best_of
from rsagent.evaluation.samples import UNSEEN
from rsagent.masks.metrics import Score

RESAMPLES = 1000


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean (percentile method, 1,000 resamples)."""
    array = np.asarray(values, dtype=np.float64)
    picks = np.random.default_rng(seed).integers(0, len(array), (RESAMPLES, len(array)))
    low, high = np.percentile(array[picks].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def figures(played: Sequence[Played]) -> dict[str, Any]:
    """gIoU with its interval, cIoU, and how the episodes went, over at least one sample."""
    score = sum((Score(1, one.iou, one.intersection, one.union) for one in played), Score())
    return {
        "samples": score.samples,
        "giou": score.giou,
        "giou_95": interval([one.iou for one in played]),
        "ciou": score.ciou,
        "oracle_giou": float(np.mean([best_of(one) for one in played])),
        "turns": float(np.mean([one.turns for one in played])),
        "malformed_per_turn": sum(one.malformed for one in played) / max(1, sum(one.turns for one in played)),
        "zooms": float(np.mean([one.zooms for one in played])),
        "encodes": float(np.mean([one.encodes for one in played])),
        "seconds": float(np.mean([one.seconds for one in played])),
        "stops": _counts(one.stop for one in played),
        "prompt_tokens": float(np.mean([one.prompt_tokens for one in played])),
        "cached_tokens": float(np.mean([one.cached_tokens for one in played])),
        "completion_tokens": float(np.mean([one.completion_tokens for one in played])),
    }


def groups(played: Sequence[Played]) -> dict[str, list[Played]]:
    """All samples (but unseen sentences), then each kind, then the small targets; empty groups are left out."""
    kinds = sorted({one.kind for one in played})
    known = [one for one in played if one.kind != UNSEEN]
    found = {"all": known} | {kind: [one for one in played if one.kind == kind] for kind in kinds}
    found["small targets"] = [one for one in known if one.small]
    return {name: members for name, members in found.items() if members}


def summary(played: Sequence[Played]) -> dict[str, Any]:
    """Figures of each group, and how well absence is told from presence."""
    absent = [one.said_absent for one in played if one.absent]
    present = [not one.said_absent for one in played if not one.absent and one.kind != UNSEEN]
    return {
        "groups": {name: figures(members) for name, members in groups(played).items()},
        "no_target_accuracy": {
            "absent_said_absent": float(np.mean(absent)) if absent else None,
            "present_not_refused": float(np.mean(present)) if present else None,
        },
    }


def table(runs: Mapping[str, Sequence[Played]]) -> str:
    """A Markdown table: a row for each group, a gIoU column for each run (mean and 95 % interval)."""
    columns = {name: groups(played) for name, played in runs.items()}
    rows = dict.fromkeys(group for column in columns.values() for group in column)
    head = ["requests", "samples", *columns]
    lines = [_line(head), _line(["---"] * len(head))]
    for group in rows:
        cells = [_cell(column.get(group, [])) for column in columns.values()]
        count = max(len(column.get(group, [])) for column in columns.values())
        lines.append(_line([group, str(count), *cells]))
    return "\n".join(lines)


def _cell(members: Sequence[Played]) -> str:
    if not members:
        return "–"
    ious = [one.iou for one in members]
    low, high = interval(ious)
    return f"{np.mean(ious):.3f} ({low:.2f}–{high:.2f})"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _counts(values: Iterable[str]) -> dict[str, int]:
    listed = list(values)
    return {value: listed.count(value) for value in sorted(set(listed))}
