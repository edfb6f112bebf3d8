"""How fast a full service gives places back, measured: what `Retry-After` is told from."""

from __future__ import annotations

from collections import deque

REMEMBERED = 64
"""Departures that the rate is taken from."""


class DrainRate:
    """Seconds from one departure to the next while every place is taken. Times are monotonic seconds.

    Only then do departures tell what the service can do; with free places they tell how much is asked of it.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._intervals: deque[float] = deque(maxlen=REMEMBERED)
        self._mean_stay = 1.0
        self._full_since: float | None = None

    def filled(self, now: float) -> None:
        """The last place was taken."""
        self._full_since = now

    def left(self, now: float, stayed: float, *, still_full: bool) -> None:
        """Somebody left after `stayed` seconds; `still_full` if another took the place at once."""
        self._mean_stay += 0.2 * (stayed - self._mean_stay)
        if self._full_since is not None:
            self._intervals.append(now - self._full_since)
        self._full_since = now if still_full and self._full_since is not None else None

    def seconds_for(self, departures: int) -> float:
        """How long so many departures take. Before the service was ever full: from how long one stays."""
        if self._intervals:
            return departures * sum(self._intervals) / len(self._intervals)
        return departures * self._mean_stay / self._places
