"""The in-process segmenter: a SAM core on worker threads, images encoded once, prompts decoded in micro-batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from rsagent.deadline import Deadline
from rsagent.segmenter.calls import Calls
from rsagent.segmenter.core import Decoded, Embedding, SamCore
from rsagent.segmenter.embeddings import EmbeddingCache
from rsagent.segmenter.protocol import Image, ImageId, Prompt, SegmentResult
from rsagent.segmenter.variants import load
from rsagent.segmenter.workers import Workers
from rsagent.settings import SegmenterSettings

MIB = 1024 * 1024


def full_batch(device: torch.device) -> int:
    """Prompts beyond which a batch gains nothing: on a CPU the last of many would only keep the first waiting."""
    return 4 if device.type == "cpu" else 16


@dataclass(frozen=True)
class _Answer:
    decoded: Decoded
    decode_ms: float
    batch_size: int


@dataclass(eq=False)
class _Ask:
    embedding: Embedding
    prompt: Prompt
    answer: asyncio.Future[_Answer]


class SegmenterPool:
    """See `Segmenter`. While all workers are busy, prompts gather (those of other images, too) and the next free
    worker decodes up to `max_batch` of them at once (by itself a `full_batch`); an idle pool decodes a prompt at once.

    At most `queue` calls wait or run. Use it on one event loop.
    """

    def __init__(
        self,
        core: SamCore,
        variant: str,
        *,
        workers: int = 1,
        cache_bytes: int = 256 * MIB,
        max_batch: int | None = None,
        queue: int = 64,
    ) -> None:
        self._core = core
        self._variant = variant
        self._workers = Workers(workers)
        self._embeddings: EmbeddingCache[Embedding] = EmbeddingCache(cache_bytes)
        self._max_batch = max_batch or full_batch(core.device)
        self._calls = Calls(queue)
        self._asked: list[_Ask] = []
        self._gathering = False
        self._batches: set[asyncio.Task[None]] = set()

    @classmethod
    def load(cls, settings: SegmenterSettings) -> SegmenterPool:
        """The pool that the settings name. Reads weights: call it off the event loop. Raises CheckpointError and
        NotConfigured."""
        return cls(
            load(settings.variant, settings.path, settings.sha256, settings.device, half=settings.dtype == "bfloat16"),
            settings.variant,
            workers=settings.workers,
            cache_bytes=settings.cache_bytes,
            max_batch=settings.max_batch,
            queue=settings.queue,
        )

    @property
    def variant(self) -> str:
        return self._variant

    @property
    def running(self) -> int:
        """Calls that wait or run now."""
        return self._calls.count

    @property
    def core(self) -> SamCore:
        """The model itself."""
        return self._core

    def knows(self, image_id: ImageId) -> bool:
        """Whether a prompt on the image is answered without its pixels: it is encoded, or about to be."""
        return self._embeddings.expects(image_id)

    async def segment(
        self,
        image_id: ImageId,
        image: Image | Callable[[], Image],
        prompt: Prompt,
        deadline: Deadline | None = None,
    ) -> SegmentResult:
        """See `Segmenter.segment`."""
        self._core.check(prompt)
        async with self._calls.one(deadline):
            started = time.perf_counter()
            embedding, encoded = await self._embeddings.get(image_id, lambda: self._encode(image))
            encode_ms = (time.perf_counter() - started) * 1000 if encoded else 0.0
            answer = await self._decode(embedding, prompt)
        return SegmentResult(answer.decoded.best, encoded, encode_ms, answer.decode_ms, answer.batch_size)

    async def ready(self) -> bool:
        return not self._calls.closed

    async def close(self) -> None:
        """See `Segmenter.close`."""
        await self._calls.close()
        if self._batches:
            await asyncio.wait(self._batches)
        await asyncio.to_thread(self._workers.close)

    async def _encode(self, image: Image | Callable[[], Image]) -> Embedding:
        return await self._workers.run(lambda: self._core.encode(image() if callable(image) else image))

    async def _decode(self, embedding: Embedding, prompt: Prompt) -> _Answer:
        ask = _Ask(embedding, prompt, asyncio.get_running_loop().create_future())
        self._asked.append(ask)
        if not self._gathering:  # those who come while a batch waits for its worker join it
            self._next_batch()
        try:
            return await ask.answer
        finally:
            if ask in self._asked:  # withdrawn; left in the queue, it would count for no one and stay
                self._asked.remove(ask)

    def _next_batch(self) -> None:
        self._gathering = True
        batch = asyncio.create_task(self._decode_batch())
        self._batches.add(batch)
        batch.add_done_callback(self._batches.discard)

    async def _decode_batch(self) -> None:
        """When a worker is free, decode what has gathered, up to `max_batch`; the rest starts the next batch."""
        await self._workers.acquire()
        asked = self._taken()
        if not asked:
            self._workers.release()
            return
        started = time.perf_counter()
        try:
            decoded = await self._workers.start(
                lambda: self._core.decode([(ask.embedding, ask.prompt) for ask in asked])
            )
        except Exception as error:  # noqa: BLE001 - each caller gets it, and classifies it
            _fail(asked, error)
            return
        decode_ms = (time.perf_counter() - started) * 1000
        for ask, one in zip(asked, decoded, strict=True):
            if not ask.answer.done():
                ask.answer.set_result(_Answer(one, decode_ms, len(asked)))

    def _taken(self) -> list[_Ask]:
        self._gathering = False
        # One that is cancelled but has not run since is still here.
        waiting = [ask for ask in self._asked if not ask.answer.cancelled()]
        taken, self._asked = waiting[: self._max_batch], waiting[self._max_batch :]
        if self._asked:
            self._next_batch()
        return taken


def _fail(asked: list[_Ask], error: Exception) -> None:
    for ask in asked:
        if not ask.answer.done():
            ask.answer.set_exception(error)
