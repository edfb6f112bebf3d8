"""One call to a replica through a deployment handle, with the errors of Ray made ours.

Prompts and masks go by value, straight to the replica (half the time of a call by reference); pixels go by reference,
through shared memory on one machine, and without the limit that a message has.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle, DeploymentResponse

from rsagent.errors import Overloaded, SegmenterError
from rsagent.segmenter.protocol import Image
from rsagent.segmenter.serve.wire import Ask, ReplicaLost, Reply, Standing


class HandleCalls:
    """The replicas behind a deployment handle, each image always asked of the same one while that one lives."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._prompts = handle.options(method_name="segment", _by_reference=False)
        self._pixels = handle.options(method_name="segment", _by_reference=True)
        self._standing = handle.options(method_name="standing", _by_reference=False)

    async def ask(self, ask: Ask, image: Image | None = None) -> Reply:
        """See `Replicas.ask`."""
        handle = self._prompts if image is None else self._pixels
        reply: Reply = await _answered(handle.options(session_id=ask.image_id).remote(ask, image))
        return reply

    async def standing(self) -> Standing:
        """See `Replicas.standing`."""
        standing: Standing = await _answered(self._standing.remote())
        return standing


async def _answered(response: DeploymentResponse[Any]) -> Any:
    """The reply; leaving early, for whatever reason, withdraws the call."""
    task, answered = asyncio.current_task(), False
    try:
        reply = await response
        answered = True
        return reply
    except asyncio.CancelledError as error:
        if task is None or task.cancelling():
            raise
        # Ray cancels a call whose replica is being stopped, and that looks as if we had been cancelled.
        raise ReplicaLost("a segmenter replica was stopped before it answered") from error
    except RayActorError as error:
        raise ReplicaLost("a segmenter replica died before it answered") from error
    except BackPressureError as error:
        raise Overloaded("the segmenter's queue is full: try again shortly", retry_after=1.0) from error
    except (RayError, RayServeException, grpc.RpcError) as error:
        raise SegmenterError("the segmenter's replicas cannot be asked") from error
    finally:
        if not answered:
            response.cancel()
