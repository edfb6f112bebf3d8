"""A policy in this process: any Qwen2.5-VL or Qwen3-VL checkpoint, the packaged nano one among them.

Importing this module imports torch and transformers; what only *may* use it imports it late.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from torch import Tensor

from rsagent.deadline import Deadline
from rsagent.errors import RSAgentError
from rsagent.policy.batch import Event, Job
from rsagent.policy.checkpoint import Checkpoint, load
from rsagent.policy.engine import Engine, EngineStats
from rsagent.policy.protocol import History, PolicyTurn, Sampling, TextDelta, ViewSpec
from rsagent.policy.settings import LocalPolicySettings


class LocalPolicy:
    """Generates turns on a thread of its own, several at once, reusing what earlier turns of an episode computed.

    A turn's `logprobs` are those of the distribution at its temperature, all tokens (of a greedy turn: the model's
    own); its `token_ids` include the token that ended it.
    """

    def __init__(self, checkpoint: Checkpoint, settings: LocalPolicySettings | None = None) -> None:
        self._checkpoint = checkpoint
        self._engine = Engine(checkpoint, settings or LocalPolicySettings())

    @classmethod
    def load(cls, settings: LocalPolicySettings | None = None) -> LocalPolicy:
        """Load the checkpoint that the settings name; takes seconds. Raises CheckpointError."""
        settings = settings or LocalPolicySettings()
        return cls(load(settings), settings)

    @property
    def name(self) -> str:
        return self._checkpoint.name

    @property
    def dialect(self) -> str:
        return self._checkpoint.dialect

    @property
    def view(self) -> ViewSpec:
        return self._checkpoint.view

    async def act(
        self, history: History, sampling: Sampling, deadline: Deadline
    ) -> AsyncGenerator[TextDelta | PolicyTurn, None]:
        """See `Policy.act`."""
        deadline.check()
        events: asyncio.Queue[Event] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        job = Job(history, sampling, deadline, lambda event: loop.call_soon_threadsafe(events.put_nowait, event))
        self._engine.submit(job)
        try:
            while True:
                event = await _next(events, deadline)
                if isinstance(event, RSAgentError):
                    raise event
                yield event
                if isinstance(event, PolicyTurn):
                    return
        finally:
            self._engine.cancel(job)

    async def ready(self) -> bool:
        return self._engine.alive and not self._engine.full

    async def close(self) -> None:
        await asyncio.to_thread(self._engine.close)

    def stats(self) -> EngineStats:
        """What runs and waits now, images encoded so far, bytes kept of earlier turns."""
        return self._engine.stats()

    def seen(self, uuid: str) -> tuple[Tensor, ...] | None:
        """What the vision tower made of an image, if it is still kept: [n, d] of its tokens and of each deepstack
        layer, computed without gradients. Ask while no turn is under way."""
        kept = self._engine.seen(uuid)
        return None if kept is None else (kept.tokens, *kept.deepstack)

    def forget(self) -> None:
        """Drop what is kept of earlier turns: call it when the weights have changed and no turn is under way."""
        self._engine.forget()


async def _next(events: asyncio.Queue[Event], deadline: Deadline) -> Event:
    try:
        async with deadline.timeout():
            return await events.get()
    except TimeoutError:
        deadline.check()
        raise
