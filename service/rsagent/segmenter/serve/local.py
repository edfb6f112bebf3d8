"""A Ray cluster of this machine alone, started for one service and ended with it."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from rsagent.engines.vllm import KEEPER, Tell, silent
from rsagent.errors import SegmenterError
from rsagent.segmenter.serve import environment
from rsagent.segmenter.serve.cluster import require
from rsagent.settings import SegmenterSettings

GRACE = 10.0
"""Seconds until processes that do not end by themselves are killed."""

LOOK_SECONDS = 0.2

ATTEMPTS = 3


class _GaveUp(SegmenterError):
    """Ray gave its own processes up. It allows them some twenty seconds, whatever is set, and on a busy machine they
    take longer the first time; the next time their files are at hand."""


@asynccontextmanager
async def running(settings: SegmenterSettings, tell: Tell = silent) -> AsyncIterator[SegmenterSettings]:
    """Start a cluster and the application on it, some twenty seconds; what comes finds it by its address.

    On leaving, all of its processes have ended; its logs stay. Raises NotConfigured without Ray, and SegmenterError,
    which names the logs.
    """
    require()
    async with AsyncExitStack() as stack:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                found = await stack.enter_async_context(_cluster(settings, tell))
                break
            except _GaveUp:
                if attempt == ATTEMPTS:
                    raise
        yield found


@asynccontextmanager
async def _cluster(settings: SegmenterSettings, tell: Tell) -> AsyncIterator[SegmenterSettings]:
    # Short, because the paths of Ray's sockets begin with it, and may have 107 bytes.
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="rsagent-ray-"))
    keeper = await asyncio.to_thread(_launch, folder, settings)
    try:
        address = await _address(folder, keeper, settings.ray.start_timeout, tell)
        found = settings.ray.model_copy(update={"address": address, "token_path": folder / "token"})
        yield settings.model_copy(update={"ray": found})
    finally:
        await asyncio.to_thread(_end, keeper)


def _launch(folder: Path, settings: SegmenterSettings) -> subprocess.Popen[bytes]:
    ray, token = settings.ray, folder / "token"
    token.touch(0o600)
    token.write_text(secrets.token_hex(32))
    # A machine of fewer cores than replicas was told so on purpose; Ray would never start the last ones.
    cpus = max(os.cpu_count() or 1, (ray.max_replicas or ray.replicas) * ray.cpus)
    head = [sys.executable, "-m", "rsagent.segmenter.serve.head", str(folder), f"{cpus:g}", settings.model_dump_json()]
    with (folder / "head.log").open("wb") as output:
        return subprocess.Popen(  # noqa: S603  our own modules
            [sys.executable, "-I", str(KEEPER), f"{GRACE:g}", *head],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            # Ctrl-C is for the service, which drains first and needs its engines for that.
            start_new_session=True,
            env={**os.environ, **environment.node(ray.metrics_port), **environment.SERVE, **environment.token(token)},
        )


async def _address(folder: Path, keeper: subprocess.Popen[bytes], seconds: float, tell: Tell) -> str:
    started, address, failure = time.monotonic(), folder / "address", folder / "failure"
    while not address.exists():
        waited = time.monotonic() - started
        if failure.exists() or keeper.poll() is not None:
            why = failure.read_text() if failure.exists() else "Ray did not start"
            kind = _GaveUp if "timed out during startup" in why else SegmenterError
            raise kind(f"{why}; its logs are in {folder}")
        if waited > seconds:
            raise SegmenterError(
                f"Ray did not start within {seconds:.0f} s; its logs are in {folder}. "
                "RSAGENT_SEGMENTER__RAY__START_TIMEOUT gives it longer"
            )
        tell(f"Ray: starting for {waited:.0f} s (logs: {folder})")
        await asyncio.sleep(LOOK_SECONDS)
    return address.read_text()


def _end(keeper: subprocess.Popen[bytes]) -> None:
    """Close the keeper's pipe: it ends the whole group. If it does not in time, its own end tells the head."""
    assert keeper.stdin is not None, "it was started with a pipe"
    keeper.stdin.close()
    try:
        keeper.wait(GRACE + 5)
    except subprocess.TimeoutExpired:
        keeper.kill()
        keeper.wait()
