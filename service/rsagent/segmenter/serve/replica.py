"""What runs in a replica: the in-process pool behind the protocol "id first, pixels when asked for".

Prompts of all callers gather in the pool's own micro-batches, not in `@serve.batch`: that one waits a fixed time for
company and cannot take a cancelled prompt out again, while the pool decodes at once when idle, gathers while busy,
and gives the masks of the embedded profile, being the same code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rsagent.deadline import Deadline
from rsagent.errors import RSAgentError, SegmenterError
from rsagent.segmenter.protocol import Image, Prompt
from rsagent.segmenter.serve.wire import Answer, Ask, NeedImage, Refused, Reply, Standing
from rsagent.settings import SegmenterSettings

if TYPE_CHECKING:
    from rsagent.segmenter.pool import SegmenterPool

PROBE = np.linspace(0, 255, 32 * 32 * 3).astype(np.uint8).reshape(32, 32, 3)
PROBE_PROMPT = Prompt(box=(8.0, 8.0, 24.0, 24.0))


class SegmenterReplica:
    """One model with its embeddings. `settings` are those of a `SegmenterSettings`.

    Raises CheckpointError and NotConfigured.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._pool = self.load(SegmenterSettings.model_validate(settings))
        self._probe = self._pool.core.encode(PROBE)

    def load(self, settings: SegmenterSettings) -> SegmenterPool:
        """The pool that answers."""
        from rsagent.segmenter.pool import SegmenterPool  # imports torch, which those who only deploy do without

        workers = min(settings.workers, max(1, int(settings.ray.cpus)))  # no more than Ray counts with
        return SegmenterPool.load(settings.model_copy(update={"workers": workers}))

    async def segment(self, ask: Ask, image: Image | None = None) -> Reply:
        """Answer `ask`, or say that the pixels (uint8 [H, W, 3] RGB) are needed, or why it is refused.

        A call that is cancelled withdraws its prompt.
        """
        if image is None and not self._pool.knows(ask.image_id):
            return NeedImage()
        deadline = None if ask.seconds is None else Deadline.after(ask.seconds)
        try:
            result = await self._pool.segment(ask.image_id, _pixels if image is None else image, ask.prompt, deadline)
        except RSAgentError as error:
            return Refused(error)
        return await asyncio.to_thread(Answer.of, result)

    async def standing(self) -> Standing:
        """What this replica is, without asking the model."""
        return Standing(self._pool.variant, await self._pool.ready(), self._pool.running)

    async def check_health(self) -> None:
        """Decode a known prompt; raise SegmenterError where the model does not give numbers.

        On a thread of its own: behind a queue of large images a healthy replica would answer too late and be killed.
        """
        decoded = await asyncio.to_thread(self._pool.core.decode, [(self._probe, PROBE_PROMPT)])
        if not np.isfinite(decoded[0].best.logits).all():
            raise SegmenterError("the segmenter's model gives no numbers")


def _pixels() -> Image:
    raise SegmenterError("the picture was forgotten while it was asked for")
