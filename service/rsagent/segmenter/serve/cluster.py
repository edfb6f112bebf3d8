"""A connection of this process to a Ray cluster, and the segmenter's application on it."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rsagent.errors import NotConfigured, SegmenterError
from rsagent.segmenter.serve import environment
from rsagent.segmenter.serve.client import RemoteSegmenter
from rsagent.segmenter.serve.settings import RaySettings
from rsagent.settings import SegmenterSettings

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

    from rsagent.segmenter.serve.calls import HandleCalls

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2


def load(settings: SegmenterSettings) -> RemoteSegmenter:
    """The segmenter on the cluster whose address the settings name.

    Takes seconds, and some ten more where the application is to be deployed: call it off the event loop. A process
    that is connected to Ray already keeps that connection. Raises NotConfigured and SegmenterError, whose messages
    name the fix.
    """
    with ExitStack() as opened:
        if not _connected():
            _connect(settings.ray)
            import ray

            opened.callback(ray.shutdown)
        from rsagent.segmenter.serve.calls import HandleCalls

        calls = HandleCalls(deployed(settings))
        variant = asyncio.run(_variant(calls, settings.ray.start_timeout))
        return RemoteSegmenter(calls, variant, opened.pop_all().close)


def installed() -> bool:
    """Whether Ray is there. It is not imported: it reads the environment then, and only then."""
    return importlib.util.find_spec("ray") is not None


def require() -> None:
    """Raise NotConfigured where Ray is not installed."""
    if not installed():
        raise NotConfigured("Ray is not installed: pip install 'rsagent[engines]', or RSAGENT_SEGMENTER__KIND=local")


def _connected() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


def _connect(settings: RaySettings) -> None:
    require()
    address = settings.address
    if address is None:
        raise NotConfigured("which Ray cluster? Set RSAGENT_SEGMENTER__RAY__ADDRESS; 'auto' is that of this machine")
    environment.prepare(settings.token_path)
    import ray
    from ray.exceptions import RayError

    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        if _is_about_the_token(error):
            raise NotConfigured(
                "the Ray cluster asks for its token: set RSAGENT_SEGMENTER__RAY__TOKEN_PATH to the file that has it"
            ) from error
        raise NotConfigured(
            f"no Ray cluster answers at {address}: this machine must be a node of it "
            "(`ray start --address=HEAD:6379 --num-cpus=0`), and RSAGENT_SEGMENTER__RAY__ADDRESS its head's host:port"
        ) from error


def _is_about_the_token(error: BaseException | None) -> bool:
    """Ray reports a refused token as a failed connection, and the reason as text somewhere behind it."""
    while error is not None:
        if "AuthenticationError" in f"{type(error).__name__}: {error}":
            return True
        error = error.__cause__ or error.__context__
    return False


def deployed(settings: SegmenterSettings) -> DeploymentHandle:
    """A handle to the application on the cluster that this process is connected to, running; it is deployed where
    there is none. Raises NotConfigured and SegmenterError."""
    from ray import serve

    name = settings.ray.application
    if name not in serve.status().applications:
        if not settings.ray.deploy:
            raise NotConfigured(
                f"the Ray cluster has no application {name!r}: `serve deploy deploy/serve.yaml`, "
                "or RSAGENT_SEGMENTER__RAY__DEPLOY=true"
            )
        _deploy(settings)
    _await_running(name, time.monotonic() + settings.ray.start_timeout)
    return serve.get_app_handle(name)


def _deploy(settings: SegmenterSettings) -> None:
    from ray import serve
    from ray.serve.config import ProxyLocation

    from rsagent.segmenter.serve.app import build

    log.info("deploying %s on Ray Serve", settings.ray.application)
    serve.start(proxy_location=ProxyLocation.Disabled)
    target = serve.RunTarget(build(settings), name=settings.ray.application, route_prefix=None)
    serve.run_many([target], wait_for_applications_running=False)


def _await_running(name: str, end: float) -> None:
    """Wait for the application. An unhealthy one may recover; one that could not be deployed does not."""
    while (status := _status(name))[0] != "RUNNING":
        if status[0] == "DEPLOY_FAILED":
            raise SegmenterError(f"the segmenter's replicas do not start: {_reason(status[1])}")
        if time.monotonic() > end:
            raise SegmenterError(
                f"the segmenter's replicas are not running in time ({status[0]}: {_reason(status[1])}): give them "
                "longer by RSAGENT_SEGMENTER__RAY__START_TIMEOUT, or the CPUs and GPUs that they ask for"
            )
        time.sleep(LOOK_SECONDS)


def _status(name: str) -> tuple[str, str]:
    """The application's status and all that is said about it."""
    from ray import serve

    found = serve.status().applications.get(name)
    if found is None:
        return "ABSENT", ""
    return found.status.value, "\n".join([found.message, *(one.message for one in found.deployments.values())])


def _reason(words: str) -> str:
    """The line of a report from Ray that says most: the last with an error of ours, else the last."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith("rsagent.errors.")]
    return (ours or lines or ["no reason given"])[-1]


async def _variant(calls: HandleCalls, seconds: float) -> str:
    try:
        async with asyncio.timeout(seconds):
            return (await calls.standing()).variant
    except TimeoutError as error:
        raise SegmenterError("the segmenter's replicas do not answer") from error
