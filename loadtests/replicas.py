"""A segmenter in processes that can be killed: what Ray Serve's replicas are to the service, without Ray.

A call on a replica that dies fails as `SegmenterError`; later calls go to those that live, and a dead one is started
anew after a second. A replica fills the prompt's box; calls are lines of JSON on its stdin, answers on its stdout.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from rsagent.deadline import Deadline
from rsagent.errors import SegmenterError
from rsagent.segmenter.fake import FakeSegmenter
from rsagent.segmenter.protocol import Image, ImageId, Prompt, SegmentResult

REBIRTH = 1.0
"""Seconds until a dead replica is started anew."""


class _Replica:
    """One process and the calls under way on it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._calls: dict[int, asyncio.Future[None]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self.alive = False

    async def run(self) -> None:
        """Keep a process running, until cancelled."""
        try:
            while True:
                await self._live()
                await asyncio.sleep(REBIRTH)
        finally:
            if self._process is not None and self._process.returncode is None:
                self._process.kill()
                await self._process.wait()

    async def call(self, number: int) -> None:
        """Returns when the replica has done its work. Raises SegmenterError if it dies."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        done = self._calls[number] = asyncio.get_running_loop().create_future()
        try:
            process.stdin.write(b"%d\n" % number)
            await done
        except (ConnectionError, OSError) as error:
            raise SegmenterError("a segmenter replica died") from error
        finally:
            del self._calls[number]

    async def _live(self) -> None:
        command = [sys.executable, "-m", "loadtests.replicas", str(self._seconds)]
        pipe = asyncio.subprocess.PIPE
        self._process = process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        assert process.stdout is not None
        while line := await process.stdout.readline():
            self.alive = True
            done = self._calls.get(int(json.loads(line)))
            if done is not None and not done.done():
                done.set_result(None)
        self.alive = False
        for done in self._calls.values():
            if not done.done():
                done.set_exception(SegmenterError("a segmenter replica died"))
        await process.wait()


class Replicas(FakeSegmenter):
    """See `Segmenter`: `count` processes, each call `seconds` long; those alive take turns."""

    def __init__(self, count: int, seconds: float) -> None:
        super().__init__()
        self._replicas = [_Replica(seconds) for _ in range(count)]
        self._tasks: list[asyncio.Task[None]] = []
        self._numbers = itertools.count()

    async def segment(
        self,
        image_id: ImageId,
        image: Image | Callable[[], Image],
        prompt: Prompt,
        deadline: Deadline | None = None,
    ) -> SegmentResult:
        """See `Segmenter.segment`."""
        self._start()
        number = next(self._numbers)
        alive = [replica for replica in self._replicas if replica.alive]
        if not alive:
            raise SegmenterError("no segmenter replica is alive")
        self.running += 1
        try:
            await alive[number % len(alive)].call(number)
        finally:
            self.running -= 1
        return await super().segment(image_id, image, prompt, deadline)

    async def ready(self) -> bool:
        """Whether a replica is alive."""
        self._start()
        return any(replica.alive for replica in self._replicas)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self) -> None:
        if not self._tasks:
            self._tasks = [asyncio.create_task(replica.run()) for replica in self._replicas]


def main() -> None:
    """A replica: says that it lives, then answers each line after a while, in order of arrival."""
    seconds = float(sys.argv[1])
    print(-1, flush=True)
    with suppress(KeyboardInterrupt):
        for line in sys.stdin:
            time.sleep(seconds)
            print(int(line), flush=True)


if __name__ == "__main__":
    main()
