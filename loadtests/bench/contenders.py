"""Who is measured, each in a process of its own that stays for all rounds: idle, it takes nothing from the others."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import httpx

from loadtests.bench import clients
from loadtests.bench.account import Account, of_answer
from loadtests.bench.clients import Asked
from loadtests.bench.cpu import Meter
from loadtests.bench.recording import Library

GRACE = 30.0
"""Seconds that a process gets to end."""


@dataclass(frozen=True)
class Work:
    """What is to be played: recordings by number, so many at once."""

    numbers: tuple[int, ...]
    clients: int


@dataclass(frozen=True)
class Played:
    """What it took: seconds, CPU-seconds of the contender and the engines (not of the clients) by what the processes
    are, and the account."""

    seconds: float
    by_role: Mapping[str, float]
    account: Account
    asked: tuple[Asked, ...] = field(default=(), repr=False)

    @property
    def cpu(self) -> float:
        """CPU-seconds in all."""
        return sum(self.by_role.values())

    @property
    def rate(self) -> float:
        """Episodes a second."""
        return self.account.episodes / self.seconds


class Contender(Protocol):
    """Plays work."""

    async def play(self, work: Work) -> Played:
        """Raises RuntimeError where it does not come to an end."""
        ...


class Worker:
    """A baseline or the limit: `loadtests.bench.worker`."""

    def __init__(self, process: Process, meter: Meter) -> None:
        self._process, self._meter = process, meter

    async def play(self, work: Work) -> Played:
        """See `Contender.play`."""
        assert self._process.stdin is not None
        before = self._meter.read()
        self._process.stdin.write(json.dumps({"numbers": work.numbers, "clients": work.clients}).encode() + b"\n")
        told = json.loads(await line(self._process))
        return Played(told["seconds"], self._meter.by_role(before), Account(**told["account"]))


class Service:
    """The service, asked over HTTP."""

    def __init__(self, url: str, library: Library, meter: Meter) -> None:
        self.url = url
        self._library, self._meter = library, meter

    async def play(self, work: Work) -> Played:
        """See `Contender.play`."""
        recordings = await asyncio.to_thread(self._library.several, work.numbers)
        before, earlier = self._meter.read(), await self.metrics()
        seconds, asked = await clients.load(self.url, recordings, work.clients)
        account = Account.total(of_answer(each.answer) for each in asked)
        later = await self.metrics()

        def counted(*names: str) -> int:
            return round(sum(later.get(name, 0.0) - earlier.get(name, 0.0) for name in names))

        account = replace(
            account,
            images_sent=counted("bench_vision_encodes", "bench_uploads"),  # computed here, or sent to a server
            pictures_sent=counted("bench_segmenter_uploads"),
        )
        return Played(seconds, self._meter.by_role(before), account, tuple(asked))

    async def metrics(self) -> Mapping[str, float]:
        """Every sample by its name and labels."""
        async with clients.client(self.url) as http:
            text = (await http.get("/metrics")).text
        lines = (each.rpartition(" ") for each in text.splitlines() if each and not each.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    async def idle(self, recording_number: int, streams: int, probes: Sequence[int]) -> list[Asked]:
        """Answers to one request after another while `streams` others wait for their policy."""
        waiting = self._library.get(recording_number)
        asked: list[Asked] = []
        async with clients.client(self.url) as http:
            idle = [asyncio.create_task(_hold(http, clients.form(waiting, seeded=False))) for _ in range(streams)]
            try:
                while (await self.metrics())["rsagent_inflight"] < streams:
                    if any(task.done() for task in idle):
                        raise RuntimeError("an idle stream did not stay")
                    await asyncio.sleep(0.05)
                for recording in await asyncio.to_thread(self._library.several, probes):
                    asked.append(await clients.ask(http, recording))
            finally:
                for task in idle:
                    task.cancel()
                await asyncio.gather(*idle, return_exceptions=True)
        return asked


async def _hold(http: httpx.AsyncClient, form: dict[str, object]) -> None:
    async with http.stream("POST", "/v1/segment", **form) as response:  # type: ignore[arg-type]
        async for _ in response.aiter_raw():
            pass


@dataclass(frozen=True)
class Hall:
    """Where contenders start: the plan's file, the recordings, a folder for logs, the environment."""

    plan: Path
    library: Library
    logs: Path
    environment: Mapping[str, str]
    meter: Meter

    @asynccontextmanager
    async def worker(self, role: str) -> AsyncIterator[Worker]:
        """See `loadtests.bench.worker` for the roles."""
        async with self._started(f"worker-{role}", "loadtests.bench.worker", role, str(self.plan)) as process:
            if await line(process) != "ready":
                raise RuntimeError(f"the {role} did not start; its words are in {self.logs}")
            yield Worker(process, self.meter)

    @asynccontextmanager
    async def service(self, *, instant: bool = False) -> AsyncIterator[Service]:
        """The service; with `instant`, over engines that answer at once."""
        words = ["loadtests.bench.stand", str(self.plan), *(["--instant"] if instant else [])]
        async with self._started("instant" if instant else "service", *words) as process:
            url = await line(process)
            yield Service(url, self.library, self.meter)

    @asynccontextmanager
    async def _started(self, name: str, module: str, *arguments: str) -> AsyncIterator[Process]:
        with (self.logs / f"{self.plan.stem}-{name}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, *arguments, stdin=PIPE, stdout=PIPE, stderr=log,
                env={**os.environ, **self.environment}, limit=1 << 24,
            )  # fmt: skip
        try:
            yield process
        finally:
            await _end(process)


async def line(process: Process) -> str:
    """What a process says next. Raises RuntimeError if it has ended."""
    assert process.stdout is not None
    said = (await process.stdout.readline()).decode().strip()
    if not said:
        raise RuntimeError("a process of the benchmark has ended: see its log in the folder of the results")
    return said


async def _end(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.close()  # all end with it, so that none outlives a benchmark that was killed
    try:
        await asyncio.wait_for(process.wait(), GRACE)
    except TimeoutError:
        process.kill()
        await process.wait()
