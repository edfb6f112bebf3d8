"""Replicas whose model a test knows or holds; all that runs in Ray's processes is importable from here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

import numpy as np
from tests.segmenter.tiny import HeldCore, tiny_model

from rsagent.segmenter.core import Decoded, Embedding, SamCore
from rsagent.segmenter.pool import SegmenterPool
from rsagent.segmenter.protocol import Image, Prompt
from rsagent.segmenter.serve.replica import PROBE_PROMPT, SegmenterReplica
from rsagent.segmenter.serve.wire import Ask, Reply, Standing
from rsagent.settings import SegmenterSettings

SETTINGS = SegmenterSettings().model_dump(mode="json")


class TinyReplica(SegmenterReplica):
    """A real model, the same in every process. `pid` tells replicas apart."""

    def load(self, settings: SegmenterSettings) -> SegmenterPool:
        return tiny_pool(settings)

    async def pid(self) -> int:
        return os.getpid()


def tiny_pool(settings: SegmenterSettings) -> SegmenterPool:
    return SegmenterPool(SamCore(tiny_model()), "tiny", max_batch=settings.max_batch, queue=settings.queue)


class PatientCore(HeldCore):
    """Held in its decodes alone, and never in those of the health check."""

    def decode(self, requests: Sequence[tuple[Embedding, Prompt]]) -> list[Decoded]:
        if requests[0][1] is PROBE_PROMPT:
            return [self._decoded(*requests[0])]
        return super().decode(requests)


class HeldReplica(SegmenterReplica):
    """A model that decodes when it is let."""

    def load(self, settings: SegmenterSettings) -> SegmenterPool:
        self.held = PatientCore()
        return SegmenterPool(self.held, "held", max_batch=8, queue=settings.queue)

    async def hold(self) -> None:
        self.held.go.clear()

    async def let_go(self) -> None:
        self.held.go.set()

    async def decoded(self) -> int:
        """Prompts that went to the model so far."""
        return sum(len(batch) for batch in self.held.batches)

    async def calls(self) -> int:
        """Calls that wait or run now."""
        return self._pool.running


class Direct:
    """See `Replicas`: one replica without Ray. `asked` keeps what was asked and whether pixels came along; each error
    in `failures` is raised in place of an answer."""

    def __init__(self, replica: SegmenterReplica) -> None:
        self.replica = replica
        self.asked: list[tuple[Ask, bool]] = []
        self.failures: list[Exception] = []

    async def ask(self, ask: Ask, image: Image | None = None) -> Reply:
        self.asked.append((ask, image is not None))
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        return await self.replica.segment(ask, image)

    async def standing(self) -> Standing:
        if self.failures:
            raise self.failures.pop(0)
        return await self.replica.standing()


def image(value: int, height: int = 4, width: int = 6) -> Image:
    return np.full((height, width, 3), value, np.uint8)
