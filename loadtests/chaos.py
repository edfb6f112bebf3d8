"""Each part killed in turn at 80 % load: errors are typed, streams have an end, no permit is lost.

The parts are a policy engine behind HTTP, two segmenter replicas, and the service itself, each a process. An engine
and a replica are killed outright; the service is sent SIGTERM, as a rolling update does, and another one takes over.
Here the engines only take time; `loadtests.drill` does the same to vLLM and Ray Serve.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

from loadtests import stand as stands
from loadtests import wire
from loadtests.stand import Stand
from loadtests.verdict import Verdict

TURN, CALL, INFLIGHT = 0.1, 0.02, 8
LOAD = 0.8
"""Of what is found that the service can do, on this machine and with all else that runs there."""
PAUSE = 5.0
"""Seconds between two kills."""
TYPED = {"overloaded", "unavailable", "policy_error", "segmenter_error", "shutting_down", "timeout"}
FIND_OUT = 15.0
"""Seconds in which that is found out."""
CALM = "nothing"
"""What is being killed while nothing is."""


@dataclass
class World:
    """The service that is asked at present, and what was seen: each reply with what was being killed when it was
    asked for."""

    stand: Stand
    replies: list[tuple[str, wire.Reply]] = field(default_factory=list)
    held: list[dict[str, float]] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    killing: str = CALM
    rate: float = 0.0
    is_over: bool = False
    load: float = LOAD


Kill = Callable[[World], Awaitable[None]]
"""Kills a part, and comes back when what should follow has had its time."""


async def play(world: World, kills: Mapping[str, Kill], seconds: float, payloads: Sequence[bytes]) -> None:
    """Keep the service at its load, and kill one part after the other, in whole rounds, until `seconds` are over."""
    world.rate = world.load * await _capacity(world.stand, payloads)
    load = asyncio.create_task(_load(world, world.rate, payloads))
    until = time.monotonic() + seconds
    while True:
        for name, kill in kills.items():
            await asyncio.sleep(PAUSE)
            world.kills[name] += 1
            world.killing = name
            await kill(world)
            world.killing = CALM
        if time.monotonic() > until:
            break
    await asyncio.sleep(PAUSE)
    world.is_over = True
    await load
    world.held.append(await asyncio.to_thread(world.stand.left_over))


async def replace(world: World, start: Callable[[], Stand]) -> None:
    """As a rolling update: another service first, then SIGTERM to the old one, which ends its streams."""
    fresh = await asyncio.to_thread(start)
    old, world.stand = world.stand, fresh
    await asyncio.to_thread(old.stop)
    old.close()


def verdicts(world: World, name: str = "chaos") -> list[Verdict]:
    """What is promised of every reply, whatever was killed."""
    replies = [reply for _, reply in world.replies]
    streams = [reply for reply in replies if b"text/event-stream" in reply.body[:2000]]
    lost = sum(not reply.is_told_to_the_end for reply in streams) + sum(reply.status == 0 for reply in replies)
    codes = Counter(reply.code for reply in replies if reply.code)
    untyped = sum(count for code, count in codes.items() if code not in TYPED)
    untyped += sum(reply.status not in (0, 200) and not reply.code for reply in replies)
    held, hung = [each for each in world.held if each], sum(reply.hung for reply in replies)
    more = {"requests": len(replies), "a_second": world.rate, "codes": dict(codes), "kills": dict(world.kills)}
    more |= {"served": served(replies), "served_in_between": served([r for d, r in world.replies if d == CALM])}
    untold = f"{name} at {world.load:.0%} load: untyped errors"
    return [
        Verdict(untold, f"{untyped} of {len(replies):,}", "0", untyped == 0, more),
        Verdict(f"{name}: lost ends (of streams and of documents)", str(lost), "0", lost == 0),
        Verdict(f"{name}: hung requests", str(hung), "0", hung == 0),
        Verdict(f"{name}: held after the end", str(held or 0), "0", not held),
    ]


def served(replies: list[wire.Reply]) -> float:
    """The share that was answered."""
    return sum(reply.status == 200 and not reply.code for reply in replies) / max(1, len(replies))


async def _capacity(stand: Stand, payloads: Sequence[bytes]) -> float:
    """Requests a second with every place taken, once each request was asked for."""
    source, done = itertools.cycle(payloads), 0
    await asyncio.gather(*(wire.send(stand.address, payload) for payload in payloads))
    started = time.monotonic()

    async def client() -> None:
        nonlocal done
        while time.monotonic() < started + FIND_OUT:
            reply = await wire.send(stand.address, next(source))
            done += reply.status == 200  # not in one line: `+=` reads `done` before it awaits

    await asyncio.gather(*(client() for _ in range(INFLIGHT)))
    return max(0.2, done / (time.monotonic() - started))


async def _load(world: World, rate: float, payloads: Sequence[bytes]) -> None:
    loop, sent, source = asyncio.get_running_loop(), set(), itertools.cycle(payloads)
    started = loop.time()

    async def one() -> None:
        during = world.killing
        reply = await wire.send(world.stand.address, next(source))
        world.replies.append((during, reply))

    for number in itertools.count():
        if world.is_over:
            break
        task = asyncio.create_task(one())
        sent.add(task)
        task.add_done_callback(sent.discard)
        await asyncio.sleep(max(0.0, started + (number + 1) / rate - loop.time()))
    await asyncio.gather(*sent)


class _Fakes:
    """Engines that only take time: a server of its own, and replicas that are the service's children."""

    def __init__(self) -> None:
        self._port = free_port()
        self._dice = random.Random(0)
        self._engine = self._start_engine()

    def service(self) -> Stand:
        """Start one, and wait until it is ready."""
        stand = stands.start(
            0, CALL, replicas=2,
            RSAGENT_POLICY__OPENAI__BASE_URL=f"http://127.0.0.1:{self._port}/v1",
            RSAGENT_LIMITS__INFLIGHT=str(INFLIGHT),
            RSAGENT_LOG__LEVEL="error",  # the rest is what is asked for here
            RSAGENT_SERVER__DRAIN="0.1",  # shorter than a request: some streams end with shutting_down
        )  # fmt: skip
        wait_for(f"{stand.url}/readyz")
        return stand

    async def kill_replica(self, world: World) -> None:
        with suppress(ProcessLookupError, IndexError):
            os.kill(self._dice.choice(world.stand.children()), signal.SIGKILL)

    async def kill_engine(self, world: World) -> None:
        self.end()
        await asyncio.sleep(1.5)
        self._engine = await asyncio.to_thread(self._start_engine)

    async def replace_service(self, world: World) -> None:
        await replace(world, self.service)

    def end(self) -> None:
        self._engine.kill()
        self._engine.wait()

    def _start_engine(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-m", "loadtests.engine", str(self._port), str(TURN)])
        wait_for(f"http://127.0.0.1:{self._port}/v1/models")
        return process


def measure(short: bool = False) -> list[Verdict]:
    """10 minutes (30 s if `short`)."""
    fakes = _Fakes()
    world = World(fakes.service())
    kills = {"replica": fakes.kill_replica, "engine": fakes.kill_engine, "service": fakes.replace_service}
    payloads = [wire.request(stream=False), wire.request(stream=True)]
    try:
        asyncio.run(play(world, kills, 30.0 if short else 600.0, payloads))
    finally:
        world.stand.stop()
        world.stand.close()
        fakes.end()
    return verdicts(world)


def wait_for(url: str, patience: float = 120.0) -> None:
    """Wait until it answers 200. Raises RuntimeError if it does not in time."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        with suppress(httpx.TransportError):
            if httpx.get(url, timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{url} did not come up")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
