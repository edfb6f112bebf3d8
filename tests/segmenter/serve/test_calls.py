"""What becomes of Ray's errors, and that a call which is left is withdrawn."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from rsagent.errors import Overloaded, RSAgentError, SegmenterError
from rsagent.segmenter.protocol import Prompt
from rsagent.segmenter.serve.settings import RaySettings
from rsagent.segmenter.serve.wire import Ask, NeedImage, ReplicaLost

pytestmark = pytest.mark.engines

ASK = Ask("a" * 64, Prompt(box=(1.0, 1.0, 3.0, 3.0)))


class Handle:
    """A deployment handle and its responses in one: `outcome` is what a call comes to, None for never."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        self.chosen: list[dict[str, Any]] = []
        self.cancelled = 0

    def options(self, **chosen: Any) -> Handle:
        self.chosen.append(chosen)
        return self

    def remote(self, *_: Any) -> Handle:
        return self

    def cancel(self) -> None:
        self.cancelled += 1

    def __await__(self) -> Generator[Any, None, Any]:
        return self._come_to().__await__()

    async def _come_to(self) -> Any:
        if self.outcome is None:
            await asyncio.Event().wait()
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


@pytest.fixture
def calls(head: RaySettings) -> Any:
    from rsagent.segmenter.serve import calls

    return calls


def _errors() -> list[tuple[BaseException, type[RSAgentError]]]:
    from grpc import RpcError
    from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError
    from ray.serve.exceptions import BackPressureError, RayServeException

    return [
        (ActorDiedError(), ReplicaLost),
        (ActorUnavailableError("gone", None), ReplicaLost),
        (asyncio.CancelledError(), ReplicaLost),
        (BackPressureError(1, 1), Overloaded),
        (RayError(), SegmenterError),
        (RayServeException(), SegmenterError),
        (RpcError(), SegmenterError),
    ]


async def test_errors_become_ours(calls: Any) -> None:
    for theirs, ours in _errors():
        handle = Handle(theirs)
        with pytest.raises(ours) as raised:
            await calls.HandleCalls(handle).ask(ASK)
        assert type(raised.value) is ours
        assert raised.value.__cause__ is theirs
        assert handle.cancelled == 1


async def test_an_image_is_the_session(calls: Any) -> None:
    handle = Handle(NeedImage())
    assert await calls.HandleCalls(handle).ask(ASK) == NeedImage()
    assert handle.chosen[-1] == {"session_id": ASK.image_id}
    assert handle.cancelled == 0


async def test_leaving_a_call_withdraws_it(calls: Any) -> None:
    handle = Handle(None)
    call = asyncio.create_task(calls.HandleCalls(handle).ask(ASK))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert handle.cancelled == 1
