"""Rules 4, 7, 8 and 25 against real engines: vLLM, and two replicas of the segmenter on Ray Serve.

Clients are killed mid-turn; then, at 40 % of what this machine can do, a replica, vLLM and the service are killed in
turn, and it is looked at how long each is missed. What the rules say in seconds is judged only where `timed`: a test
on a busy machine asks for everything else.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from rich.console import Console

from loadtests import chaos, cluster, wire
from loadtests.chaos import World
from loadtests.cluster import Cluster
from loadtests.stand import Stand
from loadtests.verdict import Verdict
from rsagent.cli.serve import Progress

SETTLE = 10.0
"""Seconds of load after a replica was killed whose requests are looked at; Ray has another one after 4 to 9."""
ROOM = {
    "RSAGENT_LIMITS__INFLIGHT": str(chaos.INFLIGHT),
    "RSAGENT_LIMITS__QUEUE": "400",
    "RSAGENT_LIMITS__QUEUE_TIMEOUT": "120",
    "RSAGENT_LIMITS__DEADLINE": "120",
    "RSAGENT_SERVER__DRAIN": "0.1",  # shorter than a request: some streams end with shutting_down
    "RSAGENT_RESILIENCE__BREAKER__LONGEST": "2",
}
"""Whatever is not served is so for what was killed, and not for a machine that does other things, too."""


@dataclass(frozen=True)
class Plan:
    """How much of it. `timed`: the rules' seconds are part of the verdicts; `patience` is rule 4's."""

    rounds: int
    clients: int
    seconds: float
    timed: bool
    patience: float


LONG = Plan(rounds=20, clients=100, seconds=180.0, timed=True, patience=2.0)
SHORT = Plan(rounds=2, clients=20, seconds=0.0, timed=False, patience=60.0)
"""Each part killed once; for machines that do other things, too, such as CI's."""


@dataclass
class Missed:
    """How a part was missed: for each of its ends, what was measured."""

    until_unready: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    until_back: list[float] = field(default_factory=list)
    first_calls: float = 0.0
    second_calls: float = 0.0


def measure(short: bool = False) -> list[Verdict]:
    """All of it, `LONG` or `SHORT`, with engines started and ended.

    Raises NotConfigured where vLLM or Ray is not installed.
    """
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="rsagent-drill-") as logs:
        found = asyncio.run(_measured(SHORT if short else LONG, Path(logs), console))
    left = [pid for pid in cluster.family(os.getpid()) if _runs(pid)]
    return [*found, Verdict("real engines: processes left at the end", str(len(left)), "0", not left)]


async def _measured(plan: Plan, logs: Path, console: Console) -> list[Verdict]:
    progress = Progress(console)
    async with cluster.running(logs, progress.tell) as engines:
        progress.end()
        console.print("clients killed mid-turn", style="dim")
        found = await _hangups(engines, plan)
        stand = await asyncio.to_thread(lambda: engines.service(**ROOM))
        drill = _Drill(engines, stand, random.Random(0))
        try:
            return found + await drill.run(plan, console)
        finally:
            await asyncio.to_thread(drill.world.stand.stop)


async def _hangups(engines: Cluster, plan: Plan) -> list[Verdict]:
    """Rule 4."""
    room = {"RSAGENT_LIMITS__INFLIGHT": str(max(2, plan.clients // 2)), "RSAGENT_LIMITS__QUEUE": str(plan.clients)}
    stand = await asyncio.to_thread(lambda: engines.service(**ROOM | room))
    asked, left, busy = cluster.payloads(), [], 0.0
    try:
        _, warm = [await wire.send(stand.address, payload, cluster.START) for payload in (asked[0], asked[0])]
        life = max(1.0, warm.total)  # so that they die mid-turn on a slow machine, too
        for number in range(plan.rounds):
            dice = random.Random(number)
            clients = [
                asyncio.create_task(wire.send(stand.address, dice.choice(asked), life * dice.uniform(0.2, 1.2)))
                for _ in range(plan.clients)
            ]
            await asyncio.sleep(0.5 * life)
            busy = max(busy, sum((await engines.running()).values()))
            await asyncio.gather(*clients)
            if held := await engines.left_over(stand, plan.patience):
                left.append(held)
    finally:
        await asyncio.to_thread(stand.stop)
    what = f"vLLM and Ray Serve, {plan.rounds} rounds of {plan.clients} clients killed mid-turn"
    return [
        Verdict(
            f"{what}: rounds with anything left after {plan.patience:g} s",
            str(left or 0), "0", not left, {"most_under_way_in_the_engines": busy},
        ),
        Verdict(f"{what}: that had something under way in the engines", f"{busy:.0f} calls", "> 0", busy > 0),
    ]  # fmt: skip


LOAD = 0.4
"""Of what both replicas can do: 80 % of what is left when one of them is away, which is to be served without a miss."""


class _Drill:
    """Rules 7, 8 and 25."""

    def __init__(self, engines: Cluster, stand: Stand, dice: random.Random) -> None:
        self.world = World(stand, load=LOAD)
        self._engines = engines
        self._dice = dice
        self._missed = Missed()

    async def run(self, plan: Plan, console: Console) -> list[Verdict]:
        console.print("a replica, vLLM and the service are killed in turn", style="dim")
        kills = {"replica": self.kill_replica, "engine": self.kill_vllm, "service": self.replace_service}
        await chaos.play(self.world, kills, plan.seconds, cluster.payloads())
        self.world.held.append(await self._engines.left_over(self.world.stand, plan.patience))
        return [*self._verdicts(plan), *chaos.verdicts(self.world, "vLLM and Ray Serve")]

    async def kill_replica(self, world: World) -> None:
        before = await asyncio.to_thread(world.stand.metrics)
        self._engines.kill_replica(self._dice)
        await asyncio.sleep(SETTLE)
        while self._engines.alive() < cluster.REPLICAS:
            await asyncio.sleep(0.2)
        after = await asyncio.to_thread(world.stand.metrics)
        grown = {name: value - before.get(name, 0.0) for name, value in after.items()}
        self._missed.second_calls += grown["rsagent_segmenter_retries_total"]
        self._missed.first_calls += sum(
            grown[f'rsagent_embedding_cache_total{{result="{x}"}}'] for x in ("hit", "miss")
        )

    async def kill_vllm(self, world: World) -> None:
        """Until the service says that it is unready, how fast it then refuses, and until it serves again, unaided."""
        self._engines.kill_vllm()
        killed = time.monotonic()
        async with httpx.AsyncClient(base_url=world.stand.url, trust_env=False, timeout=30) as http:
            await _until(http, ready=False)
            self._missed.until_unready.append(time.monotonic() - killed)
            payload, refused = wire.request(), 0
            while refused < 20 and not await _is_ready(http):
                reply = await wire.send(world.stand.address, payload)
                if reply.code == "unavailable":
                    refused += 1
                    self._missed.refusals.append(reply.total)
                await asyncio.sleep(0.1)
            await _until(http, ready=True)
            while (await wire.send(world.stand.address, payload)).status != 200:
                await asyncio.sleep(0.2)
            self._missed.until_back.append(time.monotonic() - killed)

    async def replace_service(self, world: World) -> None:
        await chaos.replace(world, lambda: self._engines.service(**ROOM))

    def _verdicts(self, plan: Plan) -> list[Verdict]:
        missed = self._missed
        replica = [reply for during, reply in self.world.replies if during == "replica"]
        share, more = chaos.served(replica), {"requests": len(replica), "second_calls": missed.second_calls}
        amplification = 1 + missed.second_calls / max(1.0, missed.first_calls)
        unready, slowest = max(missed.until_unready), max(missed.refusals, default=0.0) * 1000
        back = f"{len(missed.until_back)} of {len(missed.until_unready)} (after {max(missed.until_back):.0f} s at most)"
        return [
            Verdict("1 of 2 Ray replicas killed: requests served", f"{share:.1%}", "≥ 99 %", share >= 0.99, more),
            Verdict(
                "1 of 2 Ray replicas killed: segmenter calls a prompt",
                f"{amplification:.3f}×", "≤ 1.2×", amplification <= 1.2,
            ),
            Verdict(
                "vLLM killed: until /readyz says 503",
                f"{unready:.2f} s", "< 5 s", not plan.timed or unready < 5, {"all": missed.until_unready},
            ),
            Verdict(
                f"vLLM killed: the slowest of {len(missed.refusals)} refusals",
                f"{slowest:.0f} ms", "< 100 ms", bool(missed.refusals) and (not plan.timed or slowest < 100),
                {"p50_ms": sorted(missed.refusals)[len(missed.refusals) // 2] * 1000 if missed.refusals else None},
            ),
            Verdict("vLLM killed: served again, unaided", back, "all", len(missed.until_back) > 0),
        ]  # fmt: skip


async def _is_ready(http: httpx.AsyncClient) -> bool:
    return (await http.get("/readyz")).status_code == 200


async def _until(http: httpx.AsyncClient, *, ready: bool) -> None:
    async with asyncio.timeout(cluster.START):
        while await _is_ready(http) is not ready:
            await asyncio.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
