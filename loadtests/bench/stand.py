"""`python -m loadtests.bench.stand PLAN`: the service over engines that say what was recorded.

All of the service is real: its server, door, queue, events, masks. With `--instant` the engines are not: they answer
at once, token by token, so that all CPU the process takes is the orchestrator's. A request without a seed is then
never answered, and its stream stays idle.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from loadtests.bench import forcing
from loadtests.bench.plan import Plan, engines
from loadtests.bench.recording import Library
from rsagent.allocator import keep_memory
from rsagent.api.app import create_app
from rsagent.api.server import Server
from rsagent.deadline import Deadline
from rsagent.observing import logs
from rsagent.policy.local import LocalPolicy
from rsagent.policy.protocol import History, Policy, PolicyTurn, Sampling, TextDelta, ViewSpec
from rsagent.segmenter.fake import FakeSegmenter
from rsagent.segmenter.protocol import (
    Image,
    ImageId,
    Logits,
    Mask,
    MaskCandidate,
    Prompt,
    SegmentResult,
)
from rsagent.service import Service, open_service

NANO_VIEW = ViewSpec(max_pixels=224 * 224, factor=32)


class InstantPolicy:
    """Says the recorded turn at once, a token at a time. Without a seed it says nothing until it is cancelled."""

    name = "instant"
    dialect = "nano"
    view = NANO_VIEW

    def __init__(self, library: Library) -> None:
        self._library = library

    async def act(
        self, history: History, sampling: Sampling, deadline: Deadline
    ) -> AsyncGenerator[TextDelta | PolicyTurn, None]:
        """See `Policy.act`."""
        if sampling.seed is None:
            await asyncio.Event().wait()
        place = sum(message.role == "assistant" for message in history)
        turn = self._library.turn(sampling.seed or 0, place)
        for piece in turn.pieces:
            await asyncio.sleep(0)  # so that each token is told by itself, as those of an engine are
            yield TextDelta(piece)
        yield PolicyTurn(turn.text, completion_tokens=len(turn.ids))

    async def ready(self) -> bool:
        return True

    async def close(self) -> None:
        pass


class InstantSegmenter(FakeSegmenter):
    """Answers with the same ellipse over a third of the picture: drawn once, so that no time of it is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.prompts: Any = deque(maxlen=0)  # it would keep all it is asked

    def _answer(self, image_id: ImageId, image: Image, prompt: Prompt) -> SegmentResult:
        mask, logits = ellipse(image.shape[0], image.shape[1])
        encoded = image_id not in self.encodes
        self.encodes[image_id] = 1
        return SegmentResult(MaskCandidate(mask, logits, 0.9), encoded, 0.0, 0.0, 1)


@cache
def ellipse(height: int, width: int) -> tuple[Mask, Logits]:
    """A mask, bool [height, width], and logits that a follow-up may carry."""
    rows, columns = np.ogrid[:height, :width]
    mask: Mask = ((rows / height - 0.5) / 0.33) ** 2 + ((columns / width - 0.5) / 0.33) ** 2 < 1
    return mask, np.ones((128, 128), np.float32)


class _Work(Collector):
    """What the engines were given, for `/metrics`."""

    def __init__(self, policy: Policy, segmenter: Any) -> None:
        self._policy, self._segmenter = policy, segmenter

    def collect(self) -> Iterator[Metric]:
        encodes = self._policy.stats().image_encodes if isinstance(self._policy, LocalPolicy) else 0
        yield GaugeMetricFamily("bench_vision_encodes", "Views through the policy's vision tower.", value=encodes)
        yield GaugeMetricFamily("bench_uploads", "Views sent to a policy server.", value=forcing.uploads.sent)
        sent = getattr(self._segmenter, "images_sent", 0)
        yield GaugeMetricFamily("bench_segmenter_uploads", "Pictures sent to segmenter replicas.", value=sent)


@asynccontextmanager
async def _service(plan: Plan, instant: bool) -> AsyncIterator[Service]:
    library = Library(plan.library)
    if instant:
        policy, segmenter = InstantPolicy(library), InstantSegmenter()
        async with open_service(plan.settings, policy=policy, segmenter=segmenter) as service:
            yield service
        return
    forcing.install()
    async with engines(plan) as (player, masker):
        steered = forcing.Steered(player, lambda number, place: library.turn(number, place).ids)
        async with open_service(plan.settings, policy=steered, segmenter=masker) as service:
            service.metrics.registry.register(_Work(player, masker))
            yield service


async def _serve(plan: Plan, instant: bool) -> None:
    async with _service(plan, instant) as service:
        logs.configure(service.settings.log)
        app = create_app(service.settings, lambda _: nullcontext(service))
        await Server(app, service.settings.server, lambda url: print(url, flush=True)).serve()


def _end_with_stdin() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main(
    plan: Annotated[Path, typer.Argument(help="A file that the benchmark wrote.")],
    instant: Annotated[bool, typer.Option("--instant", help="Engines that answer at once.")] = False,
) -> None:
    """Serve until stdin ends, which it does with whoever started this; the address goes to stdout."""
    keep_memory()  # as the command line does
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    asyncio.run(_serve(Plan.read(plan), instant))


if __name__ == "__main__":
    typer.run(main)
