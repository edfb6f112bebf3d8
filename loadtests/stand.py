"""`python -m loadtests.stand`: the service over engines that only take time, as a process of its own.

What is measured against it is the service: its door, its queue, its streams, its memory. `standing` runs one as a
child; settings come from RSAGENT_… variables as always. The policy engine is scripted in the process, or, with
RSAGENT_POLICY__OPENAI__BASE_URL, a real server (`loadtests.engine` is one to kill); `--replicas` puts the segmenter
into child processes that can be killed, too.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from loadtests.replicas import Replicas
from rsagent import settings as root
from rsagent.api.app import create_app
from rsagent.api.server import Server
from rsagent.observing import logs
from rsagent.policy.fake import ScriptedPolicy
from rsagent.segmenter.fake import FakeSegmenter
from rsagent.segmenter.protocol import Segmenter
from rsagent.service import Service, open_service

SEGMENT = (
    '<think>look</think><tool_call>{"name": "segment", "arguments": {"bbox_2d": [250, 250, 750, 750]}}</tool_call>'
)
FINISH = '<think>good</think><tool_call>{"name": "finish", "arguments": {"mask_ids": [1]}}</tool_call>'


class _Running(Collector):
    """Shows what runs in the engines, so that what is left over can be seen from outside."""

    def __init__(self, policy: ScriptedPolicy | None, segmenter: Segmenter) -> None:
        self._policy, self._segmenter = policy, segmenter

    def collect(self) -> Iterator[Metric]:
        running = getattr(self._segmenter, "running", 0)
        yield GaugeMetricFamily("stand_calls", "Segmenter calls under way.", value=running)
        running = self._policy.running if self._policy else 0
        yield GaugeMetricFamily("stand_generations", "Generations under way.", value=running)


@asynccontextmanager
async def _service(policy_seconds: float, segmenter_seconds: float, replicas: int) -> AsyncIterator[Service]:
    chosen = root.load(server={"port": 0})
    scripted = None
    if chosen.policy.kind == "local":
        scripted = ScriptedPolicy([SEGMENT, FINISH], piece=24, delay=policy_seconds)
    segmenter = Replicas(replicas, segmenter_seconds) if replicas else FakeSegmenter(delay=segmenter_seconds)
    _forgetful(scripted, segmenter)
    async with open_service(chosen, policy=scripted, segmenter=segmenter) as service:
        service.metrics.registry.register(_Running(scripted, segmenter))
        yield service


def _forgetful(policy: ScriptedPolicy | None, segmenter: FakeSegmenter) -> None:
    """Have the fakes keep nothing of what they are asked: here they live long, and memory is what is measured."""
    kept: list[tuple[Any, str]] = [(policy, "histories"), (policy, "samplings"), (segmenter, "prompts")]
    for engine, name in kept:
        if engine is not None:
            setattr(engine, name, deque(maxlen=0))


async def _serve(policy_seconds: float, segmenter_seconds: float, replicas: int) -> None:
    async with _service(policy_seconds, segmenter_seconds, replicas) as service:
        logs.configure(service.settings.log)
        app = create_app(service.settings, lambda _: nullcontext(service))
        await Server(app, service.settings.server, lambda url: print(url, flush=True)).serve()


@dataclass
class Stand:
    """A running stand."""

    url: str
    process: subprocess.Popen[bytes]

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    def memory(self) -> int:
        """Resident bytes of the process."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def children(self) -> list[int]:
        """Process ids of its replicas."""
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def metrics(self) -> dict[str, float]:
        """Every sample by its name and labels, as /metrics writes them."""
        text = httpx.get(f"{self.url}/metrics", timeout=10).text
        lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def left_over(self, patience: float = 2.0) -> dict[str, float]:
        """What is still held `patience` seconds from now at the latest: permits, waiting, generations, calls."""
        until = time.monotonic() + patience
        while True:
            seen = self.metrics()
            names = ("rsagent_inflight", "rsagent_queue_depth", "stand_generations", "stand_calls")
            held = {name: seen[name] for name in names if seen.get(name)}
            if not held or time.monotonic() > until:
                return held
            time.sleep(0.05)

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> None:
        """End it, and wait for its end."""
        with suppress(ProcessLookupError):
            self.process.send_signal(sig)
        self.process.wait(60)

    def close(self) -> None:
        """Let go of what it wrote."""
        if self.process.stdout is not None:
            self.process.stdout.close()


def start(policy_seconds: float, segmenter_seconds: float, replicas: int = 0, **variables: str) -> Stand:
    """Start a stand; `variables` are added to its environment (`RSAGENT_LIMITS__INFLIGHT="8"`)."""
    command = [sys.executable, "-m", "loadtests.stand", "--policy", str(policy_seconds)]
    command += ["--segmenter", str(segmenter_seconds), "--replicas", str(replicas)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **variables})
    assert process.stdout is not None
    url = process.stdout.readline().decode().strip()
    if not url:
        raise RuntimeError("the stand did not start: see its words above")
    return Stand(url, process)


@contextmanager
def standing(policy_seconds: float, segmenter_seconds: float, replicas: int = 0, **variables: str) -> Iterator[Stand]:
    """A stand for as long as the block runs."""
    stand = start(policy_seconds, segmenter_seconds, replicas, **variables)
    try:
        yield stand
    finally:
        if stand.process.poll() is None:
            stand.stop()
        stand.close()


def main(
    policy: Annotated[float, typer.Option(help="Seconds of a turn.")] = 0.1,
    segmenter: Annotated[float, typer.Option(help="Seconds of a segmenter call.")] = 0.02,
    replicas: Annotated[int, typer.Option(help="Segmenter processes; 0 keeps it in this one.")] = 0,
) -> None:
    """Serve over engines that only take time; the address goes to stdout."""
    asyncio.run(_serve(policy, segmenter, replicas))


if __name__ == "__main__":
    typer.run(main)
