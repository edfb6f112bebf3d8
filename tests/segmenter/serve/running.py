"""What tests of a running cluster share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
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
