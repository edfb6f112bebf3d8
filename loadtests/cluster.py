"""Real engines to be killed: vLLM and a segmenter of two replicas on Ray Serve, started here as the service would, and
asked by services that are processes of their own."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from loadtests import wire
from loadtests.chaos import free_port, wait_for
from loadtests.stand import Stand
from rsagent import examples, settings
from rsagent.engines.vllm import Tell
from rsagent.segmenter.serve import cluster as ray_cluster
from rsagent.service import policy_started, segmenter_started
from rsagent.settings import PolicySettings, SegmenterSettings

REPLICAS = 2
START = 900.0
"""Seconds that anything may take to start on a machine that does much else."""
VLLM_WORDS, REPLICA_WORDS = "vllm.entrypoints.openai.api_server", "ray::ServeReplica:"
"""In the command lines of vLLM's own process (not of its keeper's) and of replicas."""
STREAMS = (False, True)


@dataclass(frozen=True)
class Cluster:
    """Engines that run; `policy` and `segmenter` are how to find them. `handle` is that of the segmenter's replicas."""

    policy: PolicySettings
    segmenter: SegmenterSettings
    handle: Any
    logs: Path

    def service(self, **variables: str) -> Stand:
        """Start `rsagent serve` over them, with `variables` added to its environment, and wait until it is ready."""
        url = f"http://127.0.0.1:{(port := free_port())}"
        with (self.logs / f"service-{port}.log").open("wb") as log:
            command = [sys.executable, "-m", "rsagent.cli", "serve", "--profile", "cluster", "--port", str(port)]
            environ = {**os.environ, **self._variables(), **variables}
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environ)
        stand = Stand(url, process)
        try:
            wait_for(f"{url}/readyz", START)
        except RuntimeError:
            stand.stop(signal.SIGKILL)
            raise
        return stand

    def _variables(self) -> dict[str, str]:
        openai, ray = self.policy.openai, self.segmenter.ray
        assert openai.api_key is not None
        assert ray.address is not None
        said = openai.model_dump(mode="json", exclude={"api_key"}, exclude_none=True)
        return {
            **{f"RSAGENT_POLICY__OPENAI__{name.upper()}": str(value) for name, value in said.items()},
            "RSAGENT_POLICY__OPENAI__API_KEY": openai.api_key.get_secret_value(),
            "RSAGENT_SEGMENTER__RAY__ADDRESS": ray.address,
            "RSAGENT_SEGMENTER__RAY__TOKEN_PATH": str(ray.token_path),
            "RSAGENT_SEGMENTER__RAY__START_TIMEOUT": str(START),
        }

    def kill_vllm(self) -> None:
        """End vLLM with all of its processes, as a crash would. Whoever started it starts it anew."""
        for pid in _named(VLLM_WORDS):
            with suppress(ProcessLookupError):
                group = os.getpgid(pid)  # its keeper gave it one of its own
                assert group != os.getpgrp(), "that would be the end of us"
                os.killpg(group, signal.SIGKILL)

    def kill_replica(self, dice: random.Random) -> None:
        """End one of the replicas. Ray starts another one."""
        with suppress(ProcessLookupError):
            os.kill(dice.choice(_named(REPLICA_WORDS)), signal.SIGKILL)

    def alive(self) -> int:
        """Replicas that have a process."""
        return len(_named(REPLICA_WORDS))

    async def running(self) -> dict[str, float]:
        """What is under way: generations in vLLM, calls in the replicas. Nothing is left out but what is zero."""
        root = self.policy.openai.urls[0].removesuffix("/v1")
        async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
            lines = (await http.get(f"{root}/metrics")).text.splitlines()
        names = ("vllm:num_requests_running", "vllm:num_requests_waiting")
        found = {name: sum(float(line.split()[-1]) for line in lines if line.startswith(name + "{")) for name in names}
        standings = await self.handle.broadcast("standing").results_async()
        found["segmenter calls"] = sum(standing.calls for standing in standings)
        return {name: value for name, value in found.items() if value}

    async def left_over(self, stand: Stand, patience: float) -> dict[str, float]:
        """What is still held or under way `patience` seconds from now at the latest, in the service and its engines."""
        held, until = {}, asyncio.get_running_loop().time() + patience
        while True:
            late = asyncio.get_running_loop().time() > until
            held = await asyncio.to_thread(stand.left_over, 0.0) | await self.running()
            if not held or late:
                return held
            await asyncio.sleep(0.05)


@asynccontextmanager
async def running(logs: Path, tell: Tell) -> AsyncIterator[Cluster]:
    """Start both, some two minutes; on leaving, nothing of them is left. `logs` is a folder.

    Raises NotConfigured where vLLM or Ray is not installed.
    """
    vllm = {"logs": logs, "threads": 1, "start_timeout": START}
    ray = {"replicas": REPLICAS, "cpus": 0.5, "start_timeout": START}
    chosen = settings.load(profile="engines", policy={"vllm": vllm}, segmenter={"ray": ray})
    async with policy_started(chosen.policy, tell) as policy, segmenter_started(chosen.segmenter, tell) as segmenter:
        remote = await asyncio.to_thread(ray_cluster.load, segmenter)
        from ray import serve

        try:
            yield Cluster(policy, segmenter, serve.get_app_handle(segmenter.ray.application), logs)
        finally:
            await remote.close()


def payloads() -> list[bytes]:
    """Requests for every shipped picture, so that all replicas have their share; documents and streams in turn."""
    shipped = examples.load()
    asked = [(number, sentence) for number, one in enumerate(shipped) for sentence in one.sentences]
    deadline = {"deadline_ms": "120000"}
    return [
        wire.request(STREAMS[place % 2], sentence, wire.small_picture(number, 384), fields=deadline)
        for place, (number, sentence) in enumerate(asked)
    ]


def family(pid: int) -> Iterator[int]:
    """A process's children, and theirs; those that left for a session of their own, too."""
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (thread / "children").read_text().split()):
                yield child
                yield from family(child)


def _named(words: str) -> list[int]:
    """Our descendants whose command line has these words, without the keepers, who were told them."""
    found = []
    for pid in family(os.getpid()):
        with suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if words in command and "keeper.py" not in command:
                found.append(pid)
    return found
