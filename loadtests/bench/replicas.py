"""Segmenter replicas on Ray Serve: what a second one gains, and what it costs to kill one."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from loadtests.bench import clients
from loadtests.bench.contenders import Hall, Service, Work
from loadtests.bench.measure import Numbers, Tell
from loadtests.bench.recording import Library, Recording
from loadtests.bench.scale import Scale
from rsagent.settings import Settings

ALONE = "rsagent-segmenter-alone"
"""The application of one replica, on the same cluster: idle, the others take nothing from it."""

TITLE = b"ray::ServeReplica:rsagent-segmenter:"
"""How Ray names the processes of the service's application."""

RETRIES = "rsagent_segmenter_retries_total"

TURNS = 4


@dataclass(frozen=True)
class Killed:
    """A replica was killed when a third of `requests` had been answered; `failed` are the words of those that were
    not. Seconds of a request before the kill at the median, and of the slowest after it."""

    requests: int
    failed: tuple[str, ...]
    retries: int
    usual: float
    worst: float


@dataclass(frozen=True)
class Replicated:
    """Prompts a second by the number of replicas, one figure a round, on pictures that are encoded; and the kill."""

    rates: Mapping[int, Sequence[float]]
    killed: Killed

    def speedups(self) -> list[float]:
        """Two replicas over one, by round."""
        return [two / one for one, two in zip(self.rates[1], self.rates[2], strict=True)]


def for_replicas(settings: Settings) -> Settings:
    """Two replicas on a cluster of this machine. Half a core is reserved for each, so that a third one fits."""
    ray = settings.segmenter.ray.model_copy(update={"replicas": 2, "cpus": 0.5, "start_timeout": 300.0})
    return settings.model_copy(update={"segmenter": settings.segmenter.model_copy(update={"kind": "ray", "ray": ray})})


def both(settings: Settings) -> dict[str, Settings]:
    """Of a cluster that stands: its two replicas, and a single one beside them."""
    ray = settings.segmenter.ray.model_copy(update={"replicas": 1, "application": ALONE})
    segmenter = settings.segmenter.model_copy(update={"ray": ray})
    return {"replicas": settings, "alone": settings.model_copy(update={"segmenter": segmenter})}


async def replicated(two: Hall, one: Hall, library: Library, numbers: Numbers, scale: Scale, tell: Tell) -> Replicated:
    """Both measurements; `two` and `one` are halls whose plans name so many replicas."""
    rates = await _rates({1: one, 2: two}, numbers, scale, tell)
    async with two.service() as service:
        await service.play(Work(numbers.take(2, TURNS), 2))
        tell("a replica is killed under load")
        recordings = await asyncio.to_thread(library.several, numbers.take(scale.killed, TURNS))
        return Replicated(rates, await killed(service, recordings, scale.clients, lambda: kill(two)))


async def _rates(halls: Mapping[int, Hall], numbers: Numbers, scale: Scale, tell: Tell) -> dict[int, list[float]]:
    known = numbers.take(scale.clients, TURNS)
    work = Work(known * scale.decodes, scale.clients)
    rates: dict[int, list[float]] = {count: [] for count in halls}
    for count in (1, 2, 2, 1):
        async with halls[count].worker("prompts") as worker:
            await worker.play(Work(known, scale.clients))  # encodes the pictures
            tell(f"prompts on {count} replica{'s' * (count > 1)}")
            played = await worker.play(work)
            rates[count].append(played.account.decodes / played.seconds)
    return rates


async def killed(service: Service, recordings: Sequence[Recording], users: int, strike: Callable[[], None]) -> Killed:
    """Play all recordings; `strike` when a third of them are over."""
    waiting, failed, seconds = iter(recordings), list[str](), list[float]()
    third, before = len(recordings) // 3, (await service.metrics()).get(RETRIES, 0.0)

    async def user() -> None:
        for recording in waiting:
            started = time.perf_counter()
            try:
                await clients.ask(http, recording)
            except (RuntimeError, httpx.HTTPError) as error:
                failed.append(str(error))
            seconds.append(time.perf_counter() - started)
            if len(seconds) == third:
                await asyncio.to_thread(strike)

    async with clients.client(service.url) as http:
        await asyncio.gather(*(user() for _ in range(users)))
    retries = (await service.metrics()).get(RETRIES, 0.0) - before
    usual = statistics.median(seconds[:third])
    return Killed(len(recordings), tuple(failed), round(retries), usual, max(seconds[third:]))


def kill(hall: Hall, proc: Path = Path("/proc")) -> None:
    """SIGKILL to the replica of this run that has worked most. Raises RuntimeError where there is none."""
    seconds = hall.meter.read()
    found = [pid for pid in seconds if _title(proc, pid).startswith(TITLE)]
    if not found:
        raise RuntimeError("no replica of this run was found to be killed")
    os.kill(max(found, key=seconds.__getitem__), signal.SIGKILL)


def _title(proc: Path, pid: int) -> bytes:
    with suppress(OSError):
        return (proc / str(pid) / "cmdline").read_bytes()
    return b""
