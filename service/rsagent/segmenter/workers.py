"""Threads that run the model, one job each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


class Workers:
    """`count` threads of one torch thread each. A job that waits for a thread can be cancelled; one that runs cannot
    be stopped, and its thread is free again only when it has ended."""

    def __init__(self, count: int) -> None:
        # Each worker computes on one core: several models side by side lose more by sharing cores than they gain.
        self._threads = ThreadPoolExecutor(count, "rsagent-segmenter", initializer=torch.set_num_threads, initargs=(1,))
        self._free = asyncio.Semaphore(count)

    async def acquire(self) -> None:
        """Wait for a free thread; `start` must follow, or `release`."""
        await self._free.acquire()

    def release(self) -> None:
        self._free.release()

    def start(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Run `work` on the thread that `acquire` reserved, and release it at the end, whoever still waits."""
        try:
            running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        except RuntimeError:  # closed, or the system gives no more threads
            self.release()
            raise
        running.add_done_callback(self._ended)
        return asyncio.shield(running)

    async def run(self, work: Callable[[], T]) -> T:
        """Wait for a thread and run `work` there."""
        await self.acquire()
        return await self.start(work)

    def close(self) -> None:
        self._threads.shutdown(wait=True)

    def _ended(self, running: asyncio.Future[T]) -> None:
        self.release()
        if not running.cancelled():
            running.exception()  # looked at, so that one nobody waits for any more is no complaint
