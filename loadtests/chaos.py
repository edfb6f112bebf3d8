"""Each part killed in turn at 80 % load: errors are typed, streams have an end, no permit is lost.

The parts are a policy engine behind HTTP, two segmenter replicas, and the service itself, each a process. An engine
and a replica are killed outright; the service is sent SIGTERM, as a rolling update does, and another one takes over.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

from loadtests import stand as stands
from loadtests import wire
from loadtests.stand import Stand
from loadtests.verdict import Verdict

TURN, CALL, INFLIGHT = 0.1, 0.02, 8
RATE = 0.8 * INFLIGHT / (2 * TURN + CALL)
PAUSE = 5.0
"""Seconds between two kills."""
TYPED = {"overloaded", "unavailable", "policy_error", "segmenter_error", "shutting_down", "timeout"}


@dataclass
class _World:
    """The processes, the service's address among them, and what was seen."""

    engine_port: int
    engine: subprocess.Popen[bytes]
    stand: Stand
    replies: list[wire.Reply] = field(default_factory=list)
    held: list[dict[str, float]] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    is_over: bool = False


def measure(short: bool = False) -> list[Verdict]:
    """10 minutes (30 s if `short`)."""
    port = _free_port()
    world = _World(port, _engine(port), _stand(port))
    try:
        asyncio.run(_play(world, 30.0 if short else 600.0))
        world.held.append(world.stand.left_over())
    finally:
        world.stand.stop()
        world.engine.kill()
        world.engine.wait()
    return _verdicts(world)


async def _play(world: _World, seconds: float) -> None:
    load = asyncio.create_task(_load(world))
    until, dice = time.monotonic() + seconds, random.Random(0)
    parts = [_kill_replica, _kill_engine, _replace_service]
    while time.monotonic() < until:
        for part in parts:
            await asyncio.sleep(PAUSE)
            await part(world, dice)
    await asyncio.sleep(PAUSE)
    world.is_over = True
    await load


async def _load(world: _World) -> None:
    loop, sent, number = asyncio.get_running_loop(), set(), 0
    payloads = [wire.request(stream=False), wire.request(stream=True)]
    started = loop.time()

    async def one(payload: bytes) -> None:
        reply = await wire.send(world.stand.address, payload)
        world.replies.append(reply)

    while not world.is_over:
        task = asyncio.create_task(one(payloads[number % 2]))
        sent.add(task)
        task.add_done_callback(sent.discard)
        number += 1
        await asyncio.sleep(max(0.0, started + number / RATE - loop.time()))
    await asyncio.gather(*sent)


async def _kill_replica(world: _World, dice: random.Random) -> None:
    world.kills["replica"] += 1
    with suppress(ProcessLookupError, IndexError):
        os.kill(dice.choice(world.stand.children()), signal.SIGKILL)


async def _kill_engine(world: _World, _: random.Random) -> None:
    world.kills["engine"] += 1
    world.engine.kill()
    world.engine.wait()
    await asyncio.sleep(1.5)
    world.engine = _engine(world.engine_port)


async def _replace_service(world: _World, _: random.Random) -> None:
    """As a rolling update: another one first, then SIGTERM to the old one, which ends its streams."""
    world.kills["service"] += 1
    fresh = await asyncio.to_thread(_stand, world.engine_port)
    old, world.stand = world.stand, fresh
    await asyncio.to_thread(old.stop)


def _engine(port: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-m", "loadtests.engine", str(port), str(TURN)])
    _wait_for(f"http://127.0.0.1:{port}/v1/models")
    return process


def _stand(port: int) -> Stand:
    stand = stands.start(
        0, CALL, replicas=2,
        RSAGENT_POLICY__OPENAI__BASE_URL=f"http://127.0.0.1:{port}/v1", RSAGENT_LIMITS__INFLIGHT=str(INFLIGHT),
        RSAGENT_SERVER__DRAIN="0.1",  # shorter than a request: some streams end with shutting_down
    )  # fmt: skip
    _wait_for(f"{stand.url}/readyz")
    return stand


def _wait_for(url: str, patience: float = 60.0) -> None:
    until = time.monotonic() + patience
    while time.monotonic() < until:
        with suppress(httpx.TransportError):
            if httpx.get(url, timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{url} did not come up")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _verdicts(world: _World) -> list[Verdict]:
    replies = world.replies
    streams = [reply for reply in replies if b"text/event-stream" in reply.body[:2000]]
    lost = sum(not reply.is_told_to_the_end for reply in streams) + sum(reply.status == 0 for reply in replies)
    codes = Counter(reply.code for reply in replies if reply.code)
    untyped = sum(count for code, count in codes.items() if code not in TYPED)
    untyped += sum(reply.status not in (0, 200) and not reply.code for reply in replies)
    held, hung = [each for each in world.held if each], sum(reply.hung for reply in replies)
    share = sum(reply.status == 200 and not reply.code for reply in replies) / max(1, len(replies))
    more = {"requests": len(replies), "served": share, "codes": dict(codes), "kills": dict(world.kills)}
    return [
        Verdict("chaos at 80 % load: untyped errors", str(untyped), "0", untyped == 0, more),
        Verdict("chaos: lost ends (of streams and of documents)", str(lost), "0", lost == 0),
        Verdict("chaos: hung requests", str(hung), "0", hung == 0),
        Verdict("chaos: held after the end", str(held or 0), "0", not held),
    ]
