"""What tests of a running cluster share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.segmenter.serve.conftest import PATIENCE

from rsagent.segmenter.serve import cluster
from rsagent.segmenter.serve.client import RemoteSegmenter
from rsagent.settings import SegmenterSettings

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

    from rsagent.segmenter.serve.replica import SegmenterReplica


@asynccontextmanager
async def deployed(
    replica: type[SegmenterReplica], name: str, settings: SegmenterSettings | None = None, **options: Any
) -> AsyncIterator[tuple[RemoteSegmenter, DeploymentHandle]]:
    """Replicas of a class on the cluster that this process is connected to: a segmenter over them, and their handle
    for what the segmenter does not ask of them."""
    from ray import serve
    from ray.serve.config import ProxyLocation

    from rsagent.segmenter.serve.app import DEPLOYMENT, application

    settings = settings or SegmenterSettings()
    ray = settings.ray.model_copy(update={"application": name, "deploy": False, "cpus": 0.1, "start_timeout": PATIENCE})
    settings = settings.model_copy(update={"kind": "ray", "ray": ray})

    def start() -> DeploymentHandle:
        serve.start(proxy_location=ProxyLocation.Disabled)
        app = application(settings, replica)
        if options:
            app = serve.deployment(replica, name=DEPLOYMENT, **_options(settings, options)).bind(
                settings.model_dump(mode="json")
            )
        return serve.run(app, name=name, route_prefix=None)

    handle = await asyncio.to_thread(start)
    segmenter = await asyncio.to_thread(cluster.load, settings)
    try:
        yield segmenter, handle
    finally:
        await segmenter.close()
        await asyncio.to_thread(serve.delete, name)


def _options(settings: SegmenterSettings, changed: dict[str, Any]) -> dict[str, Any]:
    from rsagent.segmenter.serve.app import options

    return {**options(settings), **changed}


async def eventually(condition: Callable[[], Any]) -> None:
    """Wait until an async `condition` holds."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.05)


def members(folder: str) -> set[tuple[str, int]]:
    """Name and id of each process in the session of the one that was told `folder`: Ray's daemons and workers."""
    heads = [pid for pid, words in commands().items() if "rsagent.segmenter.serve.head" in words and folder in words]
    sessions = {_session(pid) for pid in heads if "keeper.py" not in commands().get(pid, "")}
    return {(Path(words.split()[0]).name, pid) for pid, words in commands().items() if _session(pid) in sessions}


def until_gone(processes: set[tuple[str, int]]) -> None:
    """Wait until all have ended; one whose parent does not ask for its status counts as ended."""
    end = time.monotonic() + 60
    while left := {name for name, pid in processes if pid in commands()}:
        assert time.monotonic() < end, f"still there: {left}"
        time.sleep(0.1)


def commands() -> dict[int, str]:
    """The command line of every process that has one."""
    found: dict[int, str] = {}
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdigit() and (words := (process / "cmdline").read_bytes()):
                found[int(process.name)] = words.replace(b"\0", b" ").decode()
    return found


def _session(pid: int) -> int | None:
    with suppress(OSError):
        return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[3])
    return None
