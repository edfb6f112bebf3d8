"""One attempt against one truth: the figures of a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsagent.api.answers import MalformedAction, ZoomAction
from rsagent.evaluation.attempt import Attempt
from rsagent.evaluation.samples import SMALL, Loaded, Sample
from rsagent.masks.metrics import Overlap, overlap
from rsagent.segmenter.protocol import Mask


@dataclass(frozen=True, slots=True)
class Row:
    """One sample's figures.

    `iou` is of the submitted mask; `intersection` and `union` are its pixels. `iou_by_mask` are the IoUs of all masks
    the policy was shown, in order. `iou_by_turn[t]` is the IoU of the answer that would have been given had the
    episode been ended after turn t + 1. `error` says why there is no answer; then all of them are 0, and `union` is
    the truth's pixels.
    """

    id: str
    kind: str
    query: str
    tags: tuple[str, ...]
    aside: bool
    small: bool
    absent: bool
    stop: str
    error: str | None
    turns: int
    malformed: int
    zooms: int
    encodes: int
    iou: float
    intersection: int
    union: int
    iou_by_mask: tuple[float, ...]
    iou_by_turn: tuple[float, ...]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float

    @property
    def said_absent(self) -> bool:
        return self.stop == "no_target"

    @property
    def oracle(self) -> float:
        """The best IoU that submitting one of the shown masks would have had, never below the one submitted."""
        return max((self.iou, *self.iou_by_mask))


def score(sample: Sample, loaded: Loaded, attempt: Attempt) -> Row:
    """The figures of an attempt.

    Where nothing is meant, `no_target` has IoU 1, as has a submission without a pixel (both masks are empty), and
    any other end 0. Where something is, an attempt that failed or submitted nothing has IoU 0.
    """
    truth, steps = loaded.truth, attempt.steps
    nothing = np.zeros_like(truth)
    counted = overlap(nothing if attempt.error else attempt.submitted, truth, loaded.ignore)
    absent = not loaded.targets
    iou = 0.0 if attempt.error else _iou(attempt, counted, absent)
    shown = [step.mask for step in steps if step.mask is not None]
    share = float(truth.mean())
    return Row(
        sample.id, sample.kind, sample.query, sample.tags, sample.aside,
        small=0.0 < share < SMALL,
        absent=absent,
        stop=attempt.stop,
        error=attempt.error,
        turns=len(steps),
        malformed=sum(isinstance(step.action, MalformedAction) for step in steps),
        zooms=sum(isinstance(step.action, ZoomAction) for step in steps),
        encodes=attempt.encodes,
        iou=iou,
        intersection=counted.intersection,
        union=counted.union,
        iou_by_mask=() if absent or attempt.error else tuple(_overlap(mask, truth, loaded) for mask in shown),
        iou_by_turn=(*_hypotheses(attempt, truth, loaded, absent), iou) if steps else (),
        prompt_tokens=sum(step.tokens.prompt for step in steps),
        cached_tokens=sum(step.tokens.cached for step in steps),
        completion_tokens=sum(step.tokens.completion for step in steps),
        seconds=attempt.seconds,
    )  # fmt: skip


def _iou(attempt: Attempt, counted: Overlap, absent: bool) -> float:
    if not absent:
        return counted.iou
    return float(attempt.stop == "no_target" or (attempt.stop == "finished" and not counted.union))


def _overlap(mask: Mask, truth: Mask, loaded: Loaded) -> float:
    return overlap(mask, truth, loaded.ignore).iou


def _hypotheses(attempt: Attempt, truth: Mask, loaded: Loaded, absent: bool) -> list[float]:
    """For each turn but the last: the IoU of the latest mask that is not empty, which a budget would have submitted
    (`agent.episode.conclude`)."""
    found, ious = 0.0, []
    for step in attempt.steps[:-1]:
        if step.mask is not None and step.mask.any() and not (absent or attempt.error):
            found = _overlap(step.mask, truth, loaded)
        ious.append(found)
    return ious
