"""Who is next: those who wait are asked in turns by tenant, so that nobody waits behind another's crowd."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Things that wait, in a line for each tenant; the lines take turns."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[T]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        for line in self._lines.values():
            yield from line

    def add(self, tenant: str, item: T) -> None:
        """To the end of its tenant's line."""
        self._lines.setdefault(tenant, deque()).append(item)
        self._count += 1

    def discard(self, tenant: str, item: T) -> None:
        """Out of the line, if it is still there."""
        line = self._lines.get(tenant, deque())
        if item in line:
            line.remove(item)
            self._count -= 1
            if not line:
                del self._lines[tenant]

    def next(self, may: Callable[[str], bool] = lambda tenant: True) -> T | None:
        """Take out the first of the line whose turn it is, skipping tenants that may not; None if there is nobody."""
        tenant = next((tenant for tenant in self._lines if may(tenant)), None)
        if tenant is None:
            return None
        item = self._lines[tenant][0]
        self._lines.move_to_end(tenant)
        self.discard(tenant, item)
        return item

    def displaced_by(self, tenant: str) -> T | None:
        """Take out the last of the longest line, if even then it is no shorter than `tenant`'s with one more; a
        crowd so cannot keep others out of a full queue."""
        longest = max(self._lines, key=lambda name: len(self._lines[name]), default=None)
        if longest is None or longest == tenant:
            return None
        if len(self._lines[longest]) <= len(self._lines.get(tenant, ())) + 1:
            return None
        item = self._lines[longest][-1]
        self.discard(longest, item)
        return item
