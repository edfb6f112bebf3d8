"""Figures of rows: means, quotients, and how far chance may have moved them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsagent.evaluation.score import Row
from rsagent.masks.metrics import Score

RESAMPLES = 1000
SOLVED = 0.5
"""The least IoU of a solved episode."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a group of rows, as JSON holds them.

    `scored` of `total` rows have an answer; the others count as IoU 0. Shares and IoUs are 0 … 1, intervals 95 %
    bootstrap ones. `iou_by_turn[t]` is the mean over all rows of the answer after at most t + 1 turns; `overshoot`
    what submitting the best mask shown would have gained (`oracle_giou - giou`); means of turns, tokens and seconds
    are over rows with an answer, `turns_solved` over those with an IoU of at least 0.5. None: there is no such row.
    """

    total: int
    scored: int
    giou: float
    giou_95: Interval
    ciou: float
    ciou_95: Interval
    iou_by_turn: tuple[float, ...]
    oracle_giou: float
    overshoot: float
    solved: float
    turns: float | None
    turns_solved: float | None
    malformed_per_turn: float
    zooms: float | None
    encodes: float | None
    absent_said_absent: float | None
    present_not_refused: float | None
    stops: dict[str, int]
    errors: dict[str, int]
    prompt_tokens: float | None
    cached_tokens: float | None
    completion_tokens: float | None
    seconds: float | None
    seconds_95: float | None


def figures(rows: Sequence[Row]) -> Figures:
    """The figures of at least one row."""
    answered = [row for row in rows if row.error is None]
    pooled = sum((Score(1, row.iou, row.intersection, row.union) for row in rows), Score())
    oracle = float(np.mean([row.oracle for row in rows]))

    def mean(value: Callable[[Row], float], of: Sequence[Row] = answered) -> float | None:
        return float(np.mean([value(row) for row in of])) if of else None

    return Figures(
        total=len(rows),
        scored=len(answered),
        giou=pooled.giou,
        giou_95=interval([row.iou for row in rows]),
        ciou=pooled.ciou,
        ciou_95=_pooled_interval(rows),
        iou_by_turn=by_turn(rows),
        oracle_giou=oracle,
        overshoot=oracle - pooled.giou,
        solved=sum(row.iou >= SOLVED for row in rows) / len(rows),
        turns=mean(lambda row: row.turns),
        turns_solved=mean(lambda row: row.turns, [row for row in answered if row.iou >= SOLVED]),
        malformed_per_turn=sum(row.malformed for row in rows) / max(1, sum(row.turns for row in rows)),
        zooms=mean(lambda row: row.zooms),
        encodes=mean(lambda row: row.encodes),
        absent_said_absent=mean(lambda row: row.said_absent, [row for row in rows if row.absent]),
        present_not_refused=mean(
            lambda row: row.error is None and not row.said_absent, [row for row in rows if not row.absent]
        ),
        stops=_counts(row.stop for row in answered),
        errors=_counts(row.error.split(":")[0] for row in rows if row.error is not None),
        prompt_tokens=mean(lambda row: row.prompt_tokens),
        cached_tokens=mean(lambda row: row.cached_tokens),
        completion_tokens=mean(lambda row: row.completion_tokens),
        seconds=mean(lambda row: row.seconds),
        seconds_95=float(np.percentile([row.seconds for row in answered], 95)) if answered else None,
    )


def by_turn(rows: Sequence[Row]) -> tuple[float, ...]:
    """The mean IoU after at most 1, 2, … turns; an episode that has ended keeps its answer's."""
    longest = max((len(row.iou_by_turn) for row in rows), default=0)
    return tuple(float(np.mean([_after(row, turn) for row in rows])) for turn in range(longest))


def _after(row: Row, turn: int) -> float:
    return row.iou_by_turn[turn] if turn < len(row.iou_by_turn) else row.iou


def interval(values: Sequence[float], seed: int = 0) -> Interval:
    """The 95 % bootstrap interval of the mean (percentile method, 1,000 resamples)."""
    array = np.asarray(values, dtype=np.float64)
    return _middle(array[picks].mean() for picks in _resamples(len(array), seed))


def _pooled_interval(rows: Sequence[Row], seed: int = 0) -> Interval:
    """That of cIoU: samples are drawn, and the quotient of their sums taken anew."""
    inner = np.array([row.intersection for row in rows], dtype=np.float64)
    outer = np.array([row.union for row in rows], dtype=np.float64)
    drawn = ((inner[picks].sum(), outer[picks].sum()) for picks in _resamples(len(rows), seed))
    return _middle(both / either if either else 1.0 for both, either in drawn)


def _resamples(count: int, seed: int) -> Iterator[NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    return (rng.integers(0, count, count) for _ in range(RESAMPLES))


def _middle(values: Iterable[float]) -> Interval:
    low, high = np.percentile(np.fromiter(values, np.float64), [2.5, 97.5])
    return float(low), float(high)


def _counts(values: Iterable[str]) -> dict[str, int]:
    listed = list(values)
    return {value: listed.count(value) for value in sorted(set(listed))}


@dataclass(frozen=True, slots=True)
class Gain:
    """How much higher one run's gIoU is than another's on the same samples, with its 95 % interval."""

    samples: int
    gain: float
    gain_95: Interval


def gain(rows: Sequence[Row], over: Sequence[Row]) -> Gain | None:
    """The mean of the differences sample by sample (paired, so that easy and hard samples cancel out); None where
    the two have no sample in common."""
    before = {row.id: row.iou for row in over}
    differences = [row.iou - before[row.id] for row in rows if row.id in before]
    if not differences:
        return None
    return Gain(len(differences), float(np.mean(differences)), interval(differences))
