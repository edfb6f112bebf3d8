"""The pool: prompts gather while its workers are busy, and every way to end a call leaves it whole."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import threading
import weakref
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
from tests.segmenter.tiny import PATIENCE, TINY, HeldCore, picture, settle, tiny_model, until

from rsagent.deadline import Deadline
from rsagent.errors import (
    BadImage,
    BadRequest,
    DeadlineExceeded,
    Overloaded,
    RSAgentError,
    SegmenterError,
    ShuttingDown,
)
from rsagent.segmenter import variants
from rsagent.segmenter.core import Decoded, Embedding, SamCore
from rsagent.segmenter.pool import SegmenterPool
from rsagent.segmenter.protocol import Image, ImageId, Prompt, Segmenter, SegmentResult, image_id
from rsagent.settings import SegmenterSettings

Call = asyncio.Task[SegmentResult]
IMAGES = {name: np.full((4, 6, 3), value, np.uint8) for value, name in enumerate("abcdefgh")}


def prompt(number: float) -> Prompt:
    """A prompt that a test can tell from the others, by its box's first coordinate."""
    return Prompt(box=(number, 0.0, 1.0, 1.0))


def call(pool: SegmenterPool, image: str, number: float, deadline: Deadline | None = None) -> Call:
    return asyncio.create_task(pool.segment(image, IMAGES[image], prompt(number), deadline))


def numbers(core: HeldCore) -> list[list[float]]:
    """The batches decoded so far, by their prompts' numbers."""
    return [[one.box[0] for one in batch if one.box is not None] for batch in core.batches]


@pytest.fixture
def core() -> HeldCore:
    return HeldCore()


@pytest.fixture
async def pool(core: HeldCore) -> AsyncIterator[SegmenterPool]:
    one = SegmenterPool(core, "held", max_batch=4, queue=12)
    yield one
    core.go.set()
    await one.close()


async def know(pool: SegmenterPool, core: HeldCore, images: str = "abc") -> None:
    """Have the images encoded, so that only decodes are left to watch."""
    for image in images:
        await call(pool, image, 0.0)
    core.batches.clear()


async def occupy(pool: SegmenterPool, core: HeldCore, number: float = 1.0) -> Call:
    """Keep the only worker busy decoding until `core.go` is set."""
    await know(pool, core)
    core.go.clear()
    busy = call(pool, "a", number)
    await until(lambda: len(core.batches) == 1)
    return busy


async def test_an_idle_pool_decodes_a_prompt_at_once(pool: SegmenterPool, core: HeldCore) -> None:
    answer = await pool.segment("a", IMAGES["a"], prompt(5))
    assert (answer.batch_size, answer.encoded, core.encodes) == (1, True, 1)
    assert answer.encode_ms > 0
    assert answer.decode_ms > 0
    assert answer.best.mask.shape == (4, 6)
    assert answer.best.logits is answer.candidates[0].logits
    again = await pool.segment("a", IMAGES["a"], prompt(6))
    assert (again.encoded, again.encode_ms, core.encodes) == (False, 0.0, 1)
    assert pool.variant == "held"


async def test_prompts_of_any_images_gather_while_the_worker_is_busy(pool: SegmenterPool, core: HeldCore) -> None:
    busy = await occupy(pool, core)
    gathered = [call(pool, image, number) for number, image in enumerate("abca", start=2)]
    await settle()
    core.go.set()
    answers = await asyncio.gather(busy, *gathered)
    assert numbers(core) == [[1], [2, 3, 4, 5]]
    assert [answer.batch_size for answer in answers] == [1, 4, 4, 4, 4]
    assert [answer.best.logits[0, 0] for answer in answers] == [1, 2, 3, 4, 5]


async def test_a_batch_is_bounded_and_in_order(pool: SegmenterPool, core: HeldCore) -> None:
    busy = await occupy(pool, core)
    gathered = [call(pool, "b", number) for number in range(2, 12)]
    await settle()
    core.go.set()
    await asyncio.gather(busy, *gathered)
    assert numbers(core) == [[1], [2, 3, 4, 5], [6, 7, 8, 9], [10, 11]]


async def test_prompts_on_one_unknown_image_encode_it_once(pool: SegmenterPool, core: HeldCore) -> None:
    core.go.clear()
    calls = [call(pool, "a", number) for number in range(4)]
    await until(lambda: core.encodes == 1)
    await settle()
    core.go.set()
    answers = await asyncio.gather(*calls)
    assert [answer.encoded for answer in answers] == [True, False, False, False]
    assert core.encodes == 1
    assert numbers(core) == [[0, 1, 2, 3]]


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


async def test_the_loop_is_free_while_the_model_runs(pool: SegmenterPool, core: HeldCore) -> None:
    core.go.clear()
    encoding = call(pool, "a", 1.0)
    await until(lambda: core.encodes == 1)
    core.go.set()  # the encoder waits for this line: on the loop's own thread it would never come
    await encoding
    assert threading.current_thread().name not in core.threads


async def test_a_picture_may_come_as_a_function_that_runs_on_a_worker(pool: SegmenterPool) -> None:
    calls: list[str] = []

    def image() -> Image:
        calls.append(threading.current_thread().name)
        return IMAGES["a"]

    await pool.segment("a", image, prompt(1))
    await pool.segment("a", image, prompt(2))
    assert len(calls) == 1
    assert calls[0].startswith("rsagent-segmenter")


async def test_beyond_the_queue_is_overload(core: HeldCore) -> None:
    pool = SegmenterPool(core, "held", queue=2)
    busy = await occupy(pool, core)
    waiting = call(pool, "b", 2.0)
    await settle()
    with pytest.raises(Overloaded) as refused:
        await pool.segment("a", IMAGES["a"], prompt(3))
    assert refused.value.retry_after
    core.go.set()
    await asyncio.gather(busy, waiting)
    assert (await pool.segment("a", IMAGES["a"], prompt(4))).batch_size == 1, "places come back"
    assert numbers(core) == [[1], [2], [4]]
    await pool.close()


async def test_a_deadline_ends_the_wait_and_the_prompt_is_not_decoded(pool: SegmenterPool, core: HeldCore) -> None:
    busy = await occupy(pool, core)
    with pytest.raises(DeadlineExceeded):
        await pool.segment("b", IMAGES["b"], prompt(2), Deadline.after(0.01))
    core.go.set()
    await busy
    assert (await pool.segment("b", IMAGES["b"], prompt(3), Deadline.after(PATIENCE))).batch_size == 1
    assert numbers(core) == [[1], [3]]


@pytest.mark.parametrize("image", ["a", "d"])
async def test_a_deadline_that_has_passed_starts_nothing(pool: SegmenterPool, core: HeldCore, image: str) -> None:
    await know(pool, core)
    with pytest.raises(DeadlineExceeded):
        await pool.segment(image, IMAGES[image], prompt(1), Deadline.after(-1))
    await call(pool, "a", 2.0)
    assert numbers(core) == [[2]]
    assert core.encodes == 3


async def test_a_deadline_in_the_midst_of_encoding(pool: SegmenterPool, core: HeldCore) -> None:
    core.go.clear()
    with pytest.raises(DeadlineExceeded):
        await pool.segment("a", IMAGES["a"], prompt(1), Deadline.after(0.01))
    core.go.set()
    assert (await pool.segment("a", IMAGES["a"], prompt(2), Deadline.after(PATIENCE))).encoded


async def test_a_cancelled_prompt_that_waits_is_never_decoded(pool: SegmenterPool, core: HeldCore) -> None:
    busy = await occupy(pool, core)
    waiting = [call(pool, "b", number) for number in (2.0, 3.0, 4.0)]
    await settle()
    waiting[1].cancel()
    core.go.set()
    await asyncio.gather(busy, waiting[0], waiting[2])
    assert numbers(core) == [[1], [2, 4]]
    assert waiting[1].cancelled()


async def test_the_places_of_cancelled_prompts_in_a_batch_go_to_others(pool: SegmenterPool, core: HeldCore) -> None:
    busy = await occupy(pool, core)
    waiting = [call(pool, "b", number) for number in range(2, 10)]
    await settle()
    for one in waiting[:4]:
        one.cancel()
    core.go.set()
    await asyncio.gather(busy, *waiting[4:])
    assert numbers(core) == [[1], [6, 7, 8, 9]]


async def test_cancelled_prompts_leave_nothing_behind_a_busy_worker(pool: SegmenterPool, core: HeldCore) -> None:
    busy = await occupy(pool, core)
    tasks, kept = len(asyncio.all_tasks()), weakref.WeakSet[Prompt]()
    for number in range(30):
        one = prompt(number)
        kept.add(one)
        waiting = asyncio.create_task(pool.segment("b", IMAGES["b"], one))
        await settle()
        waiting.cancel()
        await asyncio.wait([waiting])
    del one, waiting
    gc.collect()
    assert len(kept) == 0
    assert len(asyncio.all_tasks()) <= tasks + 1, "at most one batch waits for a worker"
    core.go.set()
    await busy
    assert numbers(core) == [[1]]


async def test_a_cancelled_prompt_that_runs_harms_no_other(pool: SegmenterPool, core: HeldCore) -> None:
    busy = await occupy(pool, core)
    busy.cancel()
    waiting = call(pool, "b", 2.0)
    await settle()
    core.go.set()
    assert (await waiting).batch_size == 1
    assert busy.cancelled()


async def test_a_failing_batch_fails_its_own_callers_only(pool: SegmenterPool, core: HeldCore) -> None:
    core.poison[3.0] = MemoryError("secret")
    busy = await occupy(pool, core)
    waiting = [call(pool, "b", number) for number in range(2, 8)]
    await settle()
    core.go.set()
    failed = await asyncio.gather(*waiting[:4], return_exceptions=True)
    for error in failed:
        assert isinstance(error, SegmenterError)
        assert isinstance(error.__cause__, MemoryError)
        assert "secret" not in str(error)
    assert [(await task).batch_size for task in (busy, *waiting[4:])] == [1, 2, 2]
    assert (await call(pool, "b", 9.0)).batch_size == 1


async def test_an_image_that_fails_fails_for_all_who_asked_and_is_tried_again(
    pool: SegmenterPool, core: HeldCore
) -> None:
    core.poison[0.0] = RuntimeError("secret")
    core.go.clear()
    calls = [call(pool, "a", 1.0), call(pool, "a", 2.0), call(pool, "b", 3.0)]
    await settle()
    core.go.set()
    first, second, other = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, SegmenterError)
    assert isinstance(second, SegmenterError)
    assert isinstance(other, SegmentResult)
    core.poison.clear()
    assert (await call(pool, "a", 4.0)).encoded


async def test_our_own_errors_keep_their_name(pool: SegmenterPool) -> None:
    def image() -> Image:
        raise BadImage("cut off in the middle")

    with pytest.raises(BadImage, match="cut off"):
        await pool.segment("a", image, prompt(1))


async def test_a_timeout_of_the_models_own_is_no_deadline(pool: SegmenterPool, core: HeldCore) -> None:
    core.poison[1.0] = TimeoutError()
    with pytest.raises(SegmenterError):
        await pool.segment("a", IMAGES["a"], prompt(1), Deadline.after(PATIENCE))


async def test_a_prompt_that_the_model_cannot_take_is_refused_before_anything(
    pool: SegmenterPool, core: HeldCore
) -> None:
    for bad in (Prompt(), Prompt(base_logits=np.zeros((3, 3), np.float32))):
        with pytest.raises(BadRequest):
            await pool.segment("a", IMAGES["a"], bad)
    assert (core.encodes, core.batches) == (0, [])


async def test_closing_answers_what_was_accepted_and_refuses_the_rest(core: HeldCore) -> None:
    pool = SegmenterPool(core, "held", max_batch=2)
    busy = await occupy(pool, core)
    accepted = [call(pool, image, 2.0) for image in "abcd"]
    await settle()
    assert await pool.ready()
    closing = [asyncio.create_task(pool.close()) for _ in range(2)]
    await settle()
    assert not await pool.ready()
    assert not any(one.done() for one in closing)
    with pytest.raises(ShuttingDown):
        await pool.segment("a", IMAGES["a"], prompt(9))
    core.go.set()
    assert len(await asyncio.gather(busy, *accepted)) == 5
    await asyncio.gather(*closing)
    await pool.close()
    with pytest.raises(ShuttingDown):
        await pool.segment("a", IMAGES["a"], prompt(9))


async def test_nothing_is_left_after_closing(core: HeldCore) -> None:
    pool = SegmenterPool(core, "held", workers=2)
    await know(pool, core)
    core.go.clear()
    calls = [call(pool, image, 1.0) for image in "abcdef"]
    await until(lambda: bool(core.batches))
    for one in calls[:5]:
        one.cancel()
    await settle()
    core.go.set()
    await pool.close()
    assert calls[5].done()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rsagent-segmenter")]


async def test_a_pool_that_was_never_used_closes() -> None:
    await SegmenterPool(HeldCore(), "held").close()


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


@pytest.mark.parametrize("error", [Overloaded, ShuttingDown, DeadlineExceeded, SegmenterError])
def test_each_of_the_pools_own_failures_is_worth_a_retry(error: type[RSAgentError]) -> None:
    assert error.retryable
