"""What was done for requests that carry an Idempotency-Key: each runs once, and is told to all who ask.

A recording outlives its client: whoever comes again with the same key and the same request hears it from the start,
or from after the event that `Last-Event-ID` names, while it still runs or later. Nobody listening for `orphan`
seconds ends it. Only answers are kept; a request that failed may be tried again under the same key.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rsagent.api.settings import IdempotencySettings
from rsagent.errors import Conflict, RSAgentError

Name = tuple[str, str]
"""A tenant's name and the key it chose."""


@dataclass(slots=True, eq=False)
class Recording:
    """What has been told so far: a frame for each event (the n-th is `frames[n - 1]`), and in the end the `document`
    that JSON clients get, or the `failure` in its place."""

    fingerprint: str
    frames: list[bytes] = field(default_factory=list)
    document: bytes | None = None
    failure: Exception | None = None
    outcome: str = "internal"
    listeners: int = 0
    timer: asyncio.TimerHandle | None = None
    """What ends it: while it runs, for want of listeners; later, since it was kept long enough."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def over(self) -> bool:
        return self.document is not None or self.failure is not None

    @property
    def size(self) -> int:
        """Bytes held."""
        return sum(map(len, self.frames)) + len(self.document or b"")

    def tell(self, *frames: bytes) -> None:
        """Add what happened."""
        self.frames += frames
        self._announce()

    def finish(self, document: bytes, outcome: str) -> None:
        """It came to an answer."""
        self.document, self.outcome = document, outcome
        self._announce()

    def fail(self, failure: Exception, outcome: str) -> None:
        """It came to none."""
        self.failure, self.outcome = failure, outcome
        self._announce()

    async def more(self, after: int) -> list[bytes]:
        """The frames after the first `after`, as soon as there are any; none once it is over."""
        while len(self.frames) <= after and not self.over:
            await self._news.wait()
        return self.frames[after:]

    async def ended(self) -> bytes:
        """The document. Raises the failure."""
        while not self.over:
            await self._news.wait()
        if self.failure is not None:
            raise self.failure
        assert self.document is not None
        return self.document

    def wait(self, seconds: float, then: Callable[..., None], *args: object) -> None:
        """Have `then` called after so many seconds, in place of what was waited for before."""
        self.stop_waiting()
        self.timer = asyncio.get_running_loop().call_later(seconds, then, *args)

    def stop_waiting(self) -> None:
        """Wait for nothing. A timer that is left would keep the recording in memory until its time."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _announce(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


Perform = Callable[[Recording], Awaitable[None]]
"""Does what is asked and tells the recording; it leaves the recording over, unless it is cancelled."""


class Ledger:
    """The recordings of one service. For one event loop."""

    def __init__(self, settings: IdempotencySettings) -> None:
        self._settings = settings
        self._recordings: OrderedDict[Name, Recording] = OrderedDict()
        self._tasks: dict[Name, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._recordings)

    def __getitem__(self, name: Name) -> Recording:
        return self._recordings[name]

    def open(self, name: Name, fingerprint: str, perform: Perform) -> tuple[Recording, bool]:
        """The recording of that name, and whether it is a new one, which `perform` now plays.

        Raises Conflict if the name stands for another request.
        """
        known = self._recordings.get(name)
        if known is not None:
            if known.fingerprint != fingerprint:
                raise Conflict("this Idempotency-Key was used for another request: take a new one")
            return known, False
        recording = self._recordings[name] = Recording(fingerprint)
        self._tasks[name] = asyncio.create_task(self._run(name, recording, perform))
        return recording, True

    @contextmanager
    def listening(self, name: Name, recording: Recording) -> Iterator[None]:
        """Somebody hears `recording`; when the last one leaves, it has `orphan` seconds to find another."""
        recording.listeners += 1
        if not recording.over:
            recording.stop_waiting()
        try:
            yield
        finally:
            recording.listeners -= 1
            if not recording.listeners and not recording.over:
                recording.wait(self._settings.orphan, self._give_up, name)

    async def close(self) -> None:
        """End what still runs."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, name: Name, recording: Recording, perform: Perform) -> None:
        try:
            await perform(recording)
        finally:
            del self._tasks[name]
            if not recording.over:
                recording.fail(RSAgentError("nobody listened any more"), "cancelled")
            if recording.failure is not None or not self._settings.keep:
                self._forget(name, recording)
            else:
                self._keep(name, recording)

    def _keep(self, name: Name, recording: Recording) -> None:
        self._recordings.move_to_end(name)
        recording.wait(self._settings.keep, self._forget, name, recording)
        finished = {known: each for known, each in self._recordings.items() if each.over}
        held = sum(each.size for each in finished.values())
        for oldest, each in finished.items():
            if held <= self._settings.max_bytes:
                break
            held -= each.size
            self._forget(oldest, each)

    def _forget(self, name: Name, recording: Recording) -> None:
        recording.stop_waiting()
        if self._recordings.get(name) is recording:
            del self._recordings[name]

    def _give_up(self, name: Name) -> None:
        self._tasks[name].cancel()
