"""When to try again, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass

from rsagent.client.failures import RequestFailed, Unreachable
from rsagent.deadline import Deadline

FIRST = 0.25
"""Seconds before the first retry where the service names no time; doubled each time."""
LONGEST = 20.0
JITTER = 0.25
"""A pause is drawn out by up to this share, so that clients turned away together do not come back together."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How often to try again, within a deadline that is never exceeded for it."""

    most: int
    deadline: Deadline

    def pause(self, failure: RequestFailed, tries: int, *, repeatable: bool) -> float | None:
        """Seconds to wait before another try after `tries` of them, or None to give up now.

        `repeatable`: the service does the work once however often it is asked (an Idempotency-Key). Without it,
        only what surely was not begun is sent again. `Retry-After` is waited out in full, or not at all.
        """
        if tries > self.most or not failure.may_pass or not (repeatable or _was_not_begun(failure)):
            return None
        least = failure.retry_after if failure.retry_after is not None else min(LONGEST, FIRST * 2.0 ** (tries - 1))
        pause = least * (1 + JITTER * random.random())  # noqa: S311  no secret
        return pause if pause < self.deadline.remaining() else None


def _was_not_begun(failure: RequestFailed) -> bool:
    if isinstance(failure, Unreachable):
        return not failure.sent
    return failure.problem is not None and failure.problem.status in (429, 503)
