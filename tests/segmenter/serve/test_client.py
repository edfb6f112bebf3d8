"""The client of replicas, without Ray: what it sends, how its calls end, and the guard's second call when one dies."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from tests.segmenter.serve.replicas import SETTINGS, Direct, HeldReplica, TinyReplica, image, tiny_pool
from tests.segmenter.tiny import picture, settle, until

from rsagent.deadline import Deadline
from rsagent.errors import BadImage, BadRequest, DeadlineExceeded, Overloaded, SegmenterError, ShuttingDown
from rsagent.resilience.engines import GuardedSegmenter
from rsagent.resilience.settings import BreakerSettings, RetrySettings
from rsagent.segmenter.protocol import Image, Prompt, Segmenter, image_id
from rsagent.segmenter.serve.client import RemoteSegmenter
from rsagent.segmenter.serve.wire import Ask, NeedImage, ReplicaLost, Reply
from rsagent.settings import SegmenterSettings

PROMPT = Prompt(box=(1.0, 1.0, 3.0, 3.0))


@pytest.fixture
def direct() -> Direct:
    return Direct(HeldReplica(SETTINGS))


@pytest.fixture
def segmenter(direct: Direct) -> RemoteSegmenter:
    return RemoteSegmenter(direct, "held")


def guard(segmenter: RemoteSegmenter, jitter: float = 0.0) -> GuardedSegmenter:
    """As the service has it."""
    return GuardedSegmenter(segmenter, BreakerSettings(failures=1000), RetrySettings(jitter=jitter))


def held(direct: Direct) -> HeldReplica:
    assert isinstance(direct.replica, HeldReplica)
    return direct.replica


async def test_masks_are_those_of_the_pool_in_process() -> None:
    remote: Segmenter = RemoteSegmenter(Direct(TinyReplica(SETTINGS)), "tiny")
    local: Segmenter = tiny_pool(SegmenterSettings())
    for seed in range(3):
        one = picture(seed, 40 + seed, 70)
        logits = None
        for box in ((5.0, 5.0, 30.0, 30.0), (8.0, 2.0, 60.0, 38.0)):
            prompt = Prompt(box=box, base_logits=logits)
            here = await local.segment(image_id(one), one, prompt)
            there = await remote.segment(image_id(one), one, prompt)
            np.testing.assert_array_equal(here.best.mask, there.best.mask)
            np.testing.assert_array_equal(here.best.logits, there.best.logits)
            assert here.best.score == there.best.score
            assert (here.encoded, here.batch_size) == (there.encoded, there.batch_size)
            logits = there.best.logits
    await local.close()


async def test_the_id_goes_first_and_pixels_only_once(segmenter: RemoteSegmenter, direct: Direct) -> None:
    for _ in range(3):
        await segmenter.segment("a", image(2), PROMPT)
    assert [pixels for _, pixels in direct.asked] == [False, True, False, False]
    assert segmenter.images_sent == 1
    assert segmenter.variant == "held"


async def test_a_picture_that_comes_as_a_function_is_made_off_the_loop(
    segmenter: RemoteSegmenter, direct: Direct
) -> None:
    threads: list[threading.Thread] = []

    def make() -> Image:
        threads.append(threading.current_thread())
        return image(2)

    await segmenter.segment("a", make, PROMPT)
    await segmenter.segment("a", make, PROMPT)
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


async def test_the_deadline_goes_along_as_seconds(segmenter: RemoteSegmenter, direct: Direct) -> None:
    await segmenter.segment("a", image(2), PROMPT, Deadline.after(30))
    await segmenter.segment("a", image(2), PROMPT)
    first, _, last = (ask for ask, _ in direct.asked)
    assert first.seconds is not None
    assert 20 < first.seconds <= 30
    assert last.seconds is None


async def test_a_death_is_told_as_one_and_not_tried_again_here(segmenter: RemoteSegmenter, direct: Direct) -> None:
    direct.failures = [ReplicaLost("gone")]
    with pytest.raises(ReplicaLost):
        await segmenter.segment("a", image(2), PROMPT)
    assert len(direct.asked) == 1


async def test_the_guard_asks_once_more_when_a_replica_dies(segmenter: RemoteSegmenter, direct: Direct) -> None:
    guarded = guard(segmenter)
    await guarded.segment("a", image(2), PROMPT)
    direct.replica = HeldReplica(SETTINGS)  # another one, which does not know the picture
    direct.failures = [ReplicaLost("gone")]
    answer = await guarded.segment("a", image(2), PROMPT)
    assert answer.encoded
    assert (guarded.retries, segmenter.images_sent) == (1, 2)


async def test_a_replica_that_dies_with_the_picture_on_its_way() -> None:
    class Dying(Direct):
        async def ask(self, ask: Ask, image: Image | None = None) -> Reply:
            if image is not None and not self.failures:
                self.failures.append(ReplicaLost("gone"))
                raise ReplicaLost("gone")
            self.failures.clear()
            return await super().ask(ask, None)

    guarded = guard(RemoteSegmenter(Dying(HeldReplica(SETTINGS)), "held"))
    with pytest.raises(SegmenterError):
        await guarded.segment("a", image(2), PROMPT)
    assert guarded.retries == 1


async def test_two_deaths_are_a_failure(segmenter: RemoteSegmenter, direct: Direct) -> None:
    direct.failures = [ReplicaLost("gone"), ReplicaLost("gone")]
    with pytest.raises(SegmenterError):
        await guard(segmenter).segment("a", image(2), PROMPT)
    assert len(direct.asked) == 2


async def test_deaths_by_the_dozen_are_not_all_tried_again(segmenter: RemoteSegmenter, direct: Direct) -> None:
    """The service's one budget covers replicas that die, too."""
    guarded = guard(segmenter)
    direct.failures = [ReplicaLost("gone") for _ in range(100)]
    for _ in range(40):
        with pytest.raises(SegmenterError):
            await guarded.segment("a", image(2), PROMPT)
    assert len(direct.asked) <= 40 * 1.2 + RetrySettings().reserve


async def test_other_errors_are_not_tried_again(segmenter: RemoteSegmenter, direct: Direct) -> None:
    for error in (Overloaded("full"), SegmenterError("broken")):
        direct.failures = [error]
        with pytest.raises(type(error)):
            await segmenter.segment("a", image(2), PROMPT)
    assert len(direct.asked) == 2


async def test_refusals_of_a_replica_are_raised_here(segmenter: RemoteSegmenter) -> None:
    with pytest.raises(BadRequest):
        await segmenter.segment("a", image(2), Prompt())

    def broken() -> Image:
        raise BadImage("cut off")

    with pytest.raises(BadImage):
        await segmenter.segment("b", broken, PROMPT)


async def test_a_replica_that_keeps_asking_for_the_picture() -> None:
    class Forgetful(Direct):
        async def ask(self, ask: Ask, image: Image | None = None) -> Reply:
            return NeedImage()

    segmenter = RemoteSegmenter(Forgetful(HeldReplica(SETTINGS)), "held")
    with pytest.raises(SegmenterError, match="lost the picture"):
        await segmenter.segment("a", image(2), PROMPT)


async def test_a_deadline_ends_the_wait(segmenter: RemoteSegmenter, direct: Direct) -> None:
    await segmenter.segment("a", image(2), PROMPT)
    await held(direct).hold()
    with pytest.raises(DeadlineExceeded):
        await segmenter.segment("a", image(2), PROMPT, Deadline.after(0.05))
    await held(direct).let_go()
    asked = len(direct.asked)
    with pytest.raises(DeadlineExceeded):
        await segmenter.segment("a", image(2), PROMPT, Deadline.after(-1))
    assert len(direct.asked) == asked


async def test_a_death_near_the_deadline_is_not_tried_again(segmenter: RemoteSegmenter, direct: Direct) -> None:
    direct.failures = [ReplicaLost("gone")]
    with pytest.raises(ReplicaLost):
        await guard(segmenter, jitter=1e9).segment("a", image(2), PROMPT, Deadline.after(30))
    assert len(direct.asked) == 1


async def test_a_timeout_of_the_pictures_own_is_no_deadline(segmenter: RemoteSegmenter) -> None:
    def slow() -> Image:
        raise TimeoutError

    with pytest.raises(SegmenterError):
        await segmenter.segment("a", slow, PROMPT, Deadline.after(30))


async def test_cancelling_withdraws_the_call(segmenter: RemoteSegmenter, direct: Direct) -> None:
    await segmenter.segment("a", image(2), PROMPT)
    await held(direct).hold()
    waiting = asyncio.create_task(segmenter.segment("a", image(2), PROMPT))
    await until(lambda: len(held(direct).held.batches) == 2)
    waiting.cancel()
    await settle()
    assert waiting.cancelled()
    assert await held(direct).calls() == 0
    await held(direct).let_go()


async def test_ready_looks_past_one_that_just_died(segmenter: RemoteSegmenter, direct: Direct) -> None:
    assert await segmenter.ready()
    direct.failures = [ReplicaLost("gone")]
    assert await segmenter.ready()
    direct.failures = [ReplicaLost("gone"), SegmenterError("no cluster")]
    assert not await segmenter.ready()


async def test_closing_waits_for_what_runs_and_then_ends_the_rest(direct: Direct) -> None:
    ended: list[str] = []
    segmenter = RemoteSegmenter(direct, "held", lambda: ended.append(threading.current_thread().name))
    await segmenter.segment("a", image(2), PROMPT)
    await held(direct).hold()
    running = asyncio.create_task(segmenter.segment("a", image(2), PROMPT))
    await until(lambda: len(held(direct).held.batches) == 2)
    closing = [asyncio.create_task(segmenter.close()) for _ in range(2)]
    await settle()
    assert not await segmenter.ready()
    with pytest.raises(ShuttingDown):
        await segmenter.segment("a", image(2), PROMPT)
    assert not ended
    await held(direct).let_go()
    await asyncio.gather(running, *closing)
    assert len(ended) == 1
    assert ended[0] != threading.main_thread().name
