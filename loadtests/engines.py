"""`python -m loadtests.engines`: the service over vLLM and Ray Serve, both with their metrics, as one process.

It prints one line of JSON when it listens: its own address, and where each part's metrics are. It ends by SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from rsagent import settings
from rsagent.api.app import create_app
from rsagent.api.server import Server
from rsagent.observing import logs
from rsagent.service import open_service, policy_started, segmenter_started

START = 900.0
"""Seconds that anything may take to start on a machine that does much else."""


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Start one, some two minutes: its address, and `policy` and `segmenter` as host:port. Logs go to `folder`.

    Raises RuntimeError where it does not start.
    """
    command = [sys.executable, "-m", "loadtests.engines", str(folder)]
    with (log := folder / "service.log").open("wb") as output:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output, env=os.environ)
    assert child.stdout is not None
    try:
        line = child.stdout.readline()
        if not line:
            raise RuntimeError(f"the service over vLLM and Ray did not start:\n{log.read_text()[-2000:]}")
        said = json.loads(line)
        yield said["url"], said["targets"]
    finally:
        child.terminate()
        child.wait(120)
        child.stdout.close()


async def _serve(folder: Path) -> None:
    ray = {"replicas": 1, "max_replicas": 2, "cpus": 0.5, "start_timeout": START, "metrics_port": _free_port()}
    vllm = {"logs": folder, "threads": 1, "start_timeout": START}
    chosen = settings.load(
        profile="engines", server={"port": 0}, policy={"vllm": vllm}, segmenter={"ray": ray}, log={"level": "info"}
    )
    logs.configure(chosen.log)
    tell, told = _Seldom(), chosen.segmenter.ray.metrics_port
    async with policy_started(chosen.policy, tell) as policy, segmenter_started(chosen.segmenter, tell) as segmenter:
        found = chosen.model_copy(update={"policy": policy, "segmenter": segmenter})
        engine = policy.openai.urls[0].removesuffix("/v1").removeprefix("http://")
        targets = {"policy": engine, "segmenter": f"127.0.0.1:{told}"}
        async with open_service(found, tell=tell) as service:
            app = create_app(found, lambda _: nullcontext(service))
            await Server(app, found.server, lambda url: _announce(url, targets)).serve()


class _Seldom:
    """Passes on what is told, every ten seconds."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, progress: str) -> None:
        if time.monotonic() - self._last > 10:
            self._last = time.monotonic()
            print(progress, file=sys.stderr, flush=True)


def _announce(url: str, targets: dict[str, str]) -> None:
    print(json.dumps({"url": url, "targets": targets}), flush=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
