"""What a contender's process is told: which settings, which recordings, which segmenter; and the engines made of it."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from rsagent.policy.protocol import Policy
from rsagent.segmenter.architecture import build
from rsagent.segmenter.core import SamCore
from rsagent.segmenter.pool import SegmenterPool
from rsagent.segmenter.protocol import Segmenter
from rsagent.segmenter.variants import VARIANTS, load
from rsagent.service import load_policy, load_segmenter
from rsagent.settings import Settings


@dataclass(frozen=True, slots=True)
class Sam:
    """Which segmenter: the packaged nano, or a published size with random weights at `side` px. Random weights cost
    what trained ones cost."""

    variant: str = "nano"
    side: int = 256

    def core(self) -> SamCore:
        """The model; the same weights in every process."""
        if self.variant == "nano":
            return load("nano")
        torch.manual_seed(0)
        return SamCore(build(replace(VARIANTS[self.variant].architecture, image_size=self.side)))


NANO = Sam()


@dataclass(frozen=True, slots=True)
class Plan:
    """`settings` name engines that stand already: by address, or to be loaded in the process itself."""

    settings: Settings
    library: Path
    sam: Sam = NANO

    def write(self, path: Path) -> Path:
        """As a file of ours, for a process of ours."""
        path.write_bytes(pickle.dumps(self))
        return path

    @classmethod
    def read(cls, path: Path) -> Plan:
        found = pickle.loads(path.read_bytes())
        assert isinstance(found, cls)
        return found


@asynccontextmanager
async def engines(plan: Plan) -> AsyncIterator[tuple[Policy, Segmenter]]:
    """The two engines as the service has them; closed at the end."""
    policy = await asyncio.to_thread(load_policy, plan.settings.policy)
    try:
        segmenter = await asyncio.to_thread(segmenter_of, plan)
        try:
            yield policy, segmenter
        finally:
            await segmenter.close()
    finally:
        await policy.close()


def segmenter_of(plan: Plan) -> Segmenter:
    """The segmenter: where it is the packaged one, exactly what the service would load."""
    settings = plan.settings.segmenter
    if plan.sam.variant == "nano":
        return load_segmenter(settings)
    return SegmenterPool(
        plan.sam.core(),
        plan.sam.variant,
        workers=settings.workers,
        cache_bytes=settings.cache_bytes,
        max_batch=settings.max_batch,
        queue=settings.queue,
    )
