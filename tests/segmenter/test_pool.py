"""The pool: prompts of any images gather while its workers are busy, and each image is encoded once."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
from tests.segmenter.pooling import IMAGES, call, numbers, occupy, prompt
from tests.segmenter.tiny import PATIENCE, TINY, HeldCore, picture, settle, tiny_model, until

from rsagent.errors import BadRequest, Overloaded
from rsagent.segmenter import variants
from rsagent.segmenter.core import Decoded, Embedding, SamCore
from rsagent.segmenter.pool import SegmenterPool
from rsagent.segmenter.protocol import Image, ImageId, Prompt, Segmenter, SegmentResult, image_id
from rsagent.settings import SegmenterSettings


async def test_an_idle_pool_decodes_a_prompt_at_once(pool: SegmenterPool, held: HeldCore) -> None:
    answer = await pool.segment("a", IMAGES["a"], prompt(5))
    assert (answer.batch_size, answer.encoded, held.encodes) == (1, True, 1)
    assert answer.encode_ms > 0
    assert answer.decode_ms > 0
    assert answer.best.mask.shape == (4, 6)
    again = await pool.segment("a", IMAGES["a"], prompt(6))
    assert (again.encoded, again.encode_ms, held.encodes) == (False, 0.0, 1)
    assert pool.variant == "held"


async def test_prompts_of_any_images_gather_while_the_worker_is_busy(pool: SegmenterPool, held: HeldCore) -> None:
    busy = await occupy(pool, held)
    gathered = [call(pool, image, number) for number, image in enumerate("abca", start=2)]
    await settle()
    held.go.set()
    answers = await asyncio.gather(busy, *gathered)
    assert numbers(held) == [[1], [2, 3, 4, 5]]
    assert [answer.batch_size for answer in answers] == [1, 4, 4, 4, 4]
    assert [answer.best.logits[0, 0] for answer in answers] == [1, 2, 3, 4, 5]


async def test_a_batch_is_bounded_and_in_order(pool: SegmenterPool, held: HeldCore) -> None:
    busy = await occupy(pool, held)
    gathered = [call(pool, "b", number) for number in range(2, 12)]
    await settle()
    held.go.set()
    await asyncio.gather(busy, *gathered)
    assert numbers(held) == [[1], [2, 3, 4, 5], [6, 7, 8, 9], [10, 11]]


async def test_prompts_on_one_unknown_image_encode_it_once(pool: SegmenterPool, held: HeldCore) -> None:
    held.go.clear()
    calls = [call(pool, "a", number) for number in range(4)]
    await until(lambda: held.encodes == 1)
    await settle()
    held.go.set()
    answers = await asyncio.gather(*calls)
    assert [answer.encoded for answer in answers] == [True, False, False, False]
    assert held.encodes == 1
    assert numbers(held) == [[0, 1, 2, 3]]


async def test_several_workers_work_side_by_side() -> None:
    meeting = threading.Barrier(2)

    class Meeting(HeldCore):
        def decode(self, requests: Sequence[tuple[Embedding, Prompt]]) -> list[Decoded]:
            meeting.wait(PATIENCE)  # each of two decodes waits for the other
            return super().decode(requests)

    pool = SegmenterPool(Meeting(), "held", workers=2, max_batch=1)
    answers = await asyncio.gather(*(call(pool, image, 1.0) for image in "abcd"))
    assert [answer.batch_size for answer in answers] == [1] * 4
    await pool.close()


async def test_the_loop_is_free_while_the_model_runs(pool: SegmenterPool, held: HeldCore) -> None:
    held.go.clear()
    encoding = call(pool, "a", 1.0)
    await until(lambda: held.encodes == 1)
    held.go.set()  # the encoder waits for this line: on the loop's own thread it would never come
    await encoding
    assert threading.current_thread().name not in held.threads


async def test_a_picture_may_come_as_a_function_that_runs_on_a_worker(pool: SegmenterPool) -> None:
    calls: list[str] = []

    def image() -> Image:
        calls.append(threading.current_thread().name)
        return IMAGES["a"]

    await pool.segment("a", image, prompt(1))
    await pool.segment("a", image, prompt(2))
    assert len(calls) == 1
    assert calls[0].startswith("rsagent-segmenter")


async def test_beyond_the_queue_is_overload(held: HeldCore) -> None:
    pool = SegmenterPool(held, "held", queue=2)
    busy = await occupy(pool, held)
    waiting = call(pool, "b", 2.0)
    await settle()
    with pytest.raises(Overloaded) as refused:
        await pool.segment("a", IMAGES["a"], prompt(3))
    assert refused.value.retry_after
    held.go.set()
    await asyncio.gather(busy, waiting)
    assert (await pool.segment("a", IMAGES["a"], prompt(4))).batch_size == 1, "places come back"
    assert numbers(held) == [[1], [2], [4]]
    await pool.close()


async def test_a_prompt_that_the_model_cannot_take_is_refused_before_anything(
    pool: SegmenterPool, held: HeldCore
) -> None:
    for bad in (Prompt(), Prompt(base_logits=np.zeros((3, 3), np.float32))):
        with pytest.raises(BadRequest):
            await pool.segment("a", IMAGES["a"], bad)
    assert (held.encodes, held.batches) == (0, [])


async def test_concurrent_images_give_what_they_give_alone() -> None:
    core = SamCore(tiny_model())
    images = [picture(seed, 40 + seed, 60) for seed in range(6)]
    hints = [Prompt(box=(5, 6, 40, 30)), Prompt(points=((20, 20, 1),)), Prompt(box=(5, 6, 40, 30), points=((9, 9, 0),))]
    pool: Segmenter = SegmenterPool(core, "tiny", workers=2)
    asked = [(image, hint) for image in images for hint in hints]
    answers = await asyncio.gather(*(pool.segment(image_id(image), image, hint) for image, hint in asked))
    assert sum(answer.encoded for answer in answers) == len(images)
    for (image, hint), answer in zip(asked, answers, strict=True):
        alone = core.decode([(core.encode(image), hint)])[0]
        np.testing.assert_allclose(answer.best.logits, alone.best.logits, atol=1e-4)
        assert (answer.best.mask != alone.best.mask).mean() < 1e-3
    await pool.close()


async def test_the_settings_make_the_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "tiny.safetensors"
    safetensors.torch.save_file(tiny_model().state_dict(), weights)
    monkeypatch.setitem(variants.VARIANTS, "tiny", variants.Variant("tiny", TINY))
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    settings = SegmenterSettings(variant="tiny", path=str(weights), sha256=sha256, queue=1, cache_bytes=0)
    pool = await asyncio.to_thread(SegmenterPool.load, settings)
    ids: list[ImageId] = ["one", "two"]
    calls = [asyncio.create_task(pool.segment(one, picture(1), prompt(1.0))) for one in ids]
    answer, refused = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answer, SegmentResult)
    assert isinstance(refused, Overloaded)
    assert (await pool.segment("one", picture(1), prompt(1.0))).encoded, "no bytes, nothing kept"
    assert pool.variant == "tiny"
    await pool.close()
