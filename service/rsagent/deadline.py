"""One absolute deadline a request, handed down to every child."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass

from rsagent.errors import DeadlineExceeded


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock, in seconds. `Deadline.never()` is infinitely far."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The deadline `seconds` from now."""
        return cls(time.monotonic() + seconds)

    @classmethod
    def never(cls) -> Deadline:
        return cls(math.inf)

    def remaining(self) -> float:
        """Seconds left, never below 0; infinity for `never`."""
        return max(0.0, self.at - time.monotonic())

    @property
    def expired(self) -> bool:
        return self.remaining() == 0.0

    def check(self) -> None:
        """Raise DeadlineExceeded if nothing is left."""
        if self.expired:
            raise DeadlineExceeded("the deadline passed; ask for fewer turns or a longer deadline_ms")

    def timeout(self) -> asyncio.Timeout:
        """An asyncio timeout that ends with this deadline."""
        remaining = self.remaining()
        return asyncio.timeout(None if math.isinf(remaining) else remaining)
