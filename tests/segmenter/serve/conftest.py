"""One Ray cluster of two nodes for all tests that need one: the service's own head, joined by `ray start`."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rsagent.segmenter.serve import cluster, environment, local
from rsagent.segmenter.serve.settings import RaySettings
from rsagent.settings import SegmenterSettings

PATIENCE = 300.0
"""Seconds for anything to start on a machine that does much else."""


@pytest.fixture(scope="session")
def head() -> Iterator[RaySettings]:
    """A cluster of one node, as the profile `engines` starts it, which this process is connected to."""
    if not cluster.installed():
        pytest.skip("Ray is in the engines extra")
    wanted = RaySettings(replicas=2, cpus=0.1, start_timeout=PATIENCE, object_store_bytes=100 << 20)
    starting = local.running(SegmenterSettings(kind="ray", ray=wanted))
    with asyncio.Runner() as runner, ExitStack() as opened:
        found = runner.run(starting.__aenter__()).ray
        opened.callback(lambda: runner.run(starting.__aexit__(None, None, None)))
        environment.prepare(found.token_path)
        with warnings.catch_warnings(action="ignore"):  # of Ray's own modules
            import ray.serve

        opened.callback(ray.shutdown)
        ray.init(address=found.address, log_to_driver=False, logging_level="error")
        yield found


@pytest.fixture(scope="session")
def two_nodes(head: RaySettings) -> Iterator[RaySettings]:
    """The same with a second node, by `ray start`."""
    import ray

    ray_command = str(Path(sys.executable).with_name("ray"))
    options = ["--num-cpus=2", "--object-store-memory=100000000", "--disable-usage-stats", "--block"]
    environ = {**os.environ, **environment.NODE}
    for _ in range(local.ATTEMPTS):  # see there
        node = subprocess.Popen(
            [ray_command, "start", f"--address={head.address}", *options], env=environ, stdout=subprocess.DEVNULL
        )
        while node.poll() is None and sum(one["Alive"] for one in ray.nodes()) < 2:
            time.sleep(0.2)
        if node.poll() is None:
            break
    yield head
    node.terminate()
    node.wait(60)
