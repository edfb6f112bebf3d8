"""The ends of a call: in time or late, cancelled, failed, or with the pool itself; each leaves the pool whole."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest
from tests.segmenter.pooling import IMAGES, call, know, numbers, occupy, prompt
from tests.segmenter.tiny import PATIENCE, HeldCore, settle, until

from rsagent.deadline import Deadline
from rsagent.errors import BadImage, DeadlineExceeded, SegmenterError, ShuttingDown
from rsagent.segmenter.pool import SegmenterPool
from rsagent.segmenter.protocol import Image, Prompt, SegmentResult


async def test_a_deadline_ends_the_wait_and_the_prompt_is_not_decoded(pool: SegmenterPool, held: HeldCore) -> None:
    busy = await occupy(pool, held)
    with pytest.raises(DeadlineExceeded):
        await pool.segment("b", IMAGES["b"], prompt(2), Deadline.after(0.01))
    held.go.set()
    await busy
    assert (await pool.segment("b", IMAGES["b"], prompt(3), Deadline.after(PATIENCE))).batch_size == 1
    assert numbers(held) == [[1], [3]]


@pytest.mark.parametrize("image", ["a", "d"])
async def test_a_deadline_that_has_passed_starts_nothing(pool: SegmenterPool, held: HeldCore, image: str) -> None:
    await know(pool, held)
    with pytest.raises(DeadlineExceeded):
        await pool.segment(image, IMAGES[image], prompt(1), Deadline.after(-1))
    await call(pool, "a", 2.0)
    assert numbers(held) == [[2]]
    assert held.encodes == 3


async def test_a_deadline_in_the_midst_of_encoding(pool: SegmenterPool, held: HeldCore) -> None:
    held.go.clear()
    with pytest.raises(DeadlineExceeded):
        await pool.segment("a", IMAGES["a"], prompt(1), Deadline.after(0.01))
    held.go.set()
    assert (await pool.segment("a", IMAGES["a"], prompt(2), Deadline.after(PATIENCE))).encoded


async def test_a_cancelled_prompt_that_waits_is_never_decoded(pool: SegmenterPool, held: HeldCore) -> None:
    busy = await occupy(pool, held)
    waiting = [call(pool, "b", number) for number in (2.0, 3.0, 4.0)]
    await settle()
    waiting[1].cancel()
    held.go.set()
    await asyncio.gather(busy, waiting[0], waiting[2])
    assert numbers(held) == [[1], [2, 4]]
    assert waiting[1].cancelled()


async def test_a_prompt_cancelled_as_its_batch_starts_is_not_decoded(pool: SegmenterPool, held: HeldCore) -> None:
    await know(pool, held)
    late = call(pool, "a", 1.0)
    await asyncio.sleep(0)  # it is queued, and its batch runs next
    late.cancel()
    await call(pool, "a", 2.0)
    assert numbers(held) == [[2]]


async def test_the_places_of_cancelled_prompts_in_a_batch_go_to_others(pool: SegmenterPool, held: HeldCore) -> None:
    busy = await occupy(pool, held)
    waiting = [call(pool, "b", number) for number in range(2, 10)]
    await settle()
    for one in waiting[:4]:
        one.cancel()
    held.go.set()
    await asyncio.gather(busy, *waiting[4:])
    assert numbers(held) == [[1], [6, 7, 8, 9]]


async def test_cancelled_prompts_leave_nothing_behind_a_busy_worker(pool: SegmenterPool, held: HeldCore) -> None:
    busy = await occupy(pool, held)
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
    held.go.set()
    await busy
    assert numbers(held) == [[1]]


async def test_a_cancelled_prompt_that_runs_harms_no_other(pool: SegmenterPool, held: HeldCore) -> None:
    busy = await occupy(pool, held)
    busy.cancel()
    waiting = call(pool, "b", 2.0)
    await settle()
    held.go.set()
    assert (await waiting).batch_size == 1
    assert busy.cancelled()


async def test_a_failing_batch_fails_its_own_callers_only(pool: SegmenterPool, held: HeldCore) -> None:
    held.poison[3.0] = MemoryError("secret")
    busy = await occupy(pool, held)
    waiting = [call(pool, "b", number) for number in range(2, 8)]
    await settle()
    held.go.set()
    failed = await asyncio.gather(*waiting[:4], return_exceptions=True)
    for error in failed:
        assert isinstance(error, SegmenterError)
        assert isinstance(error.__cause__, MemoryError)
        assert "secret" not in str(error)
    assert [(await task).batch_size for task in (busy, *waiting[4:])] == [1, 2, 2]
    assert (await call(pool, "b", 9.0)).batch_size == 1


async def test_an_image_that_fails_fails_for_all_who_asked_and_is_tried_again(
    pool: SegmenterPool, held: HeldCore
) -> None:
    held.poison[0.0] = RuntimeError("secret")
    held.go.clear()
    calls = [call(pool, "a", 1.0), call(pool, "a", 2.0), call(pool, "b", 3.0)]
    await settle()
    held.go.set()
    first, second, other = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, SegmenterError)
    assert isinstance(second, SegmenterError)
    assert isinstance(other, SegmentResult)
    held.poison.clear()
    assert (await call(pool, "a", 4.0)).encoded


async def test_our_own_errors_keep_their_name(pool: SegmenterPool) -> None:
    def image() -> Image:
        raise BadImage("cut off in the middle")

    with pytest.raises(BadImage, match="cut off"):
        await pool.segment("a", image, prompt(1))


async def test_a_timeout_of_the_models_own_is_no_deadline(pool: SegmenterPool, held: HeldCore) -> None:
    held.poison[1.0] = TimeoutError()
    with pytest.raises(SegmenterError):
        await pool.segment("a", IMAGES["a"], prompt(1), Deadline.after(PATIENCE))


async def test_closing_answers_what_was_accepted_and_refuses_the_rest(held: HeldCore) -> None:
    pool = SegmenterPool(held, "held", max_batch=2)
    busy = await occupy(pool, held)
    accepted = [call(pool, image, 2.0) for image in "abcd"]
    await settle()
    assert await pool.ready()
    closing = [asyncio.create_task(pool.close()) for _ in range(2)]
    await settle()
    assert not await pool.ready()
    assert not any(one.done() for one in closing)
    with pytest.raises(ShuttingDown):
        await pool.segment("a", IMAGES["a"], prompt(9))
    held.go.set()
    assert len(await asyncio.gather(busy, *accepted)) == 5
    await asyncio.gather(*closing)
    await pool.close()
    with pytest.raises(ShuttingDown):
        await pool.segment("a", IMAGES["a"], prompt(9))


async def test_nothing_is_left_after_closing(held: HeldCore) -> None:
    pool = SegmenterPool(held, "held", workers=2)
    await know(pool, held)
    held.go.clear()
    calls = [call(pool, image, 1.0) for image in "abcdef"]
    await until(lambda: bool(held.batches))
    for one in calls[:5]:
        one.cancel()
    await settle()
    held.go.set()
    await pool.close()
    assert calls[5].done()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rsagent-segmenter")]


async def test_a_pool_that_was_never_used_closes() -> None:
    await SegmenterPool(HeldCore(), "held").close()
