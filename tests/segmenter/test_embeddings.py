"""Each embedding is made once, and what is kept stays within its bytes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.segmenter.tiny import settle

from rsagent.segmenter.embeddings import EmbeddingCache

Asked = asyncio.Task[tuple["Made", bool]]


@dataclass(eq=False)
class Made:
    """What stands for an embedding."""

    nbytes: int


class Maker:
    """Makes what is asked for when the test says so, and counts."""

    def __init__(self) -> None:
        self.started = self.cancelled = 0
        self.pending: list[asyncio.Future[Made]] = []

    async def __call__(self) -> Made:
        self.started += 1
        made: asyncio.Future[Made] = asyncio.get_running_loop().create_future()
        self.pending.append(made)
        try:
            return await made
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


def at_once(nbytes: int) -> Callable[[], Awaitable[Made]]:
    async def make() -> Made:
        return Made(nbytes)

    return make


def ask(cache: EmbeddingCache[Made], make: Callable[[], Awaitable[Made]], image_id: str = "a") -> Asked:
    return asyncio.create_task(cache.get(image_id, make))


async def test_all_who_ask_at_once_share_one_making() -> None:
    cache, make = EmbeddingCache[Made](100), Maker()
    asked = [ask(cache, make) for _ in range(5)]
    await settle()
    make.pending[0].set_result(Made(10))
    answers = await asyncio.gather(*asked)
    assert make.started == 1
    assert len({id(made) for made, _ in answers}) == 1
    assert [first for _, first in answers] == [True, False, False, False, False]
    assert await cache.get("a", make) == (answers[0][0], False)
    assert make.started == 1


async def test_other_images_are_made_side_by_side() -> None:
    cache, make = EmbeddingCache[Made](100), Maker()
    asked = [ask(cache, make, image_id) for image_id in "abc"]
    await settle()
    assert make.started == 3
    for pending in make.pending:
        pending.set_result(Made(1))
    assert [first for _, first in await asyncio.gather(*asked)] == [True] * 3


async def test_all_share_a_failure_and_nothing_stays() -> None:
    cache, make = EmbeddingCache[Made](100), Maker()
    asked = [ask(cache, make) for _ in range(3)]
    await settle()
    make.pending[0].set_exception(ValueError("no such picture"))
    assert [str(error) for error in await asyncio.gather(*asked, return_exceptions=True)] == ["no such picture"] * 3
    assert (len(cache), cache.nbytes) == (0, 0)
    assert (await cache.get("a", at_once(7)))[1], "a failure must not be remembered"
    assert cache.nbytes == 7


async def test_the_least_recently_used_goes_first() -> None:
    cache = EmbeddingCache[Made](100)
    for image_id in "abc":
        await cache.get(image_id, at_once(30))
    await cache.get("a", at_once(30))
    await cache.get("d", at_once(35))
    assert [image_id for image_id in "abcd" if image_id in cache] == ["a", "c", "d"]
    assert (len(cache), cache.nbytes) == (3, 95)


async def test_one_may_push_out_several() -> None:
    cache = EmbeddingCache[Made](100)
    for image_id in "abc":
        await cache.get(image_id, at_once(30))
    await cache.get("d", at_once(100))
    assert ("d" in cache, len(cache), cache.nbytes) == (True, 1, 100)


async def test_one_that_is_too_large_is_returned_but_pushes_nothing_out() -> None:
    cache = EmbeddingCache[Made](100)
    await cache.get("a", at_once(30))
    made, first = await cache.get("b", at_once(101))
    assert (made.nbytes, first) == (101, True)
    assert ("a" in cache, "b" in cache, cache.nbytes) == (True, False, 30)


async def test_one_of_two_may_go_away() -> None:
    cache, make = EmbeddingCache[Made](100), Maker()
    first, second = ask(cache, make), ask(cache, make)
    await settle()
    first.cancel()
    await settle()
    assert (first.cancelled(), make.cancelled) == (True, 0)
    make.pending[0].set_result(Made(10))
    assert (await second)[0].nbytes == 10
    assert ("a" in cache, make.started) == (True, 1)


async def test_when_the_last_goes_away_the_making_ends() -> None:
    cache, make = EmbeddingCache[Made](100), Maker()
    asked = [ask(cache, make), ask(cache, make)]
    await settle()
    for waiter in asked:
        waiter.cancel()
    await settle()
    assert (make.cancelled, len(cache)) == (1, 0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_who_asks_after_a_cancelled_making_gets_a_new_one() -> None:
    cache, make = EmbeddingCache[Made](100), Maker()
    gone = ask(cache, make)
    await settle()
    gone.cancel()
    await asyncio.sleep(0)  # the waiter has left, its making has not yet heard of it
    again = ask(cache, make)
    await settle()
    make.pending[-1].set_result(Made(10))
    assert (await again)[1]
    assert (make.started, make.cancelled, cache.nbytes) == (2, 1, 10)


@pytest.mark.parametrize("late", [False, True])
async def test_going_away_as_the_making_ends_breaks_nothing(late: bool) -> None:
    cache, make = EmbeddingCache[Made](100), Maker()
    waiter = ask(cache, make)
    await settle()
    make.pending[0].set_result(Made(10))
    if late:
        await asyncio.sleep(0)
    waiter.cancel()
    await settle()
    assert cache.nbytes == 10 * ("a" in cache)
    assert (await cache.get("a", at_once(10)))[0].nbytes == 10
    assert cache.nbytes == 10


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    """One loop for all examples of a property: starting one costs more than an example."""
    with asyncio.Runner() as runner:
        yield runner


SIZES = {image_id: size for size, image_id in enumerate("abcdefgh", start=1)}


@settings(max_examples=50)
@given(st.integers(0, 20), st.lists(st.sampled_from(sorted(SIZES)), max_size=40))
def test_it_is_an_lru_by_bytes(loop: asyncio.Runner, capacity: int, order: list[str]) -> None:
    loop.run(held_to_a_model(capacity, order))


async def held_to_a_model(capacity: int, order: list[str]) -> None:
    cache, model = EmbeddingCache[Made](capacity), OrderedDict[str, int]()
    for image_id in order:
        _, first = await cache.get(image_id, at_once(SIZES[image_id]))
        assert first == (image_id not in model)
        if SIZES[image_id] <= capacity:
            model[image_id] = SIZES[image_id]
            model.move_to_end(image_id)
        while sum(model.values()) > capacity:
            model.popitem(last=False)
        assert {known for known in SIZES if known in cache} == set(model)
        assert cache.nbytes == sum(model.values()) <= capacity


ACTS = st.tuples(st.sampled_from(["ask", "ask", "cancel", "make", "fail", "run"]), st.integers(0, 7))


@given(st.integers(0, 20), st.lists(ACTS, max_size=40))
def test_whatever_happens_the_bytes_are_those_kept(
    loop: asyncio.Runner, capacity: int, acts: list[tuple[str, int]]
) -> None:
    loop.run(played(capacity, acts))


async def played(capacity: int, acts: list[tuple[str, int]]) -> None:
    cache, make, asked = EmbeddingCache[Made](capacity), Maker(), list[Asked]()
    for act, number in acts:
        pending = [future for future in make.pending if not future.done()]
        if act == "ask":
            asked.append(ask(cache, make, "abcdefgh"[number]))
        elif act == "cancel" and asked:
            asked[number % len(asked)].cancel()
        elif act == "make" and pending:
            pending[number % len(pending)].set_result(Made(number))
        elif act == "fail" and pending:
            pending[number % len(pending)].set_exception(ValueError("failed"))
        elif act == "run":
            await asyncio.sleep(0)
        check(cache, capacity)
    for waiter in asked:
        waiter.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    await settle()
    check(cache, capacity)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def check(cache: EmbeddingCache[Made], capacity: int) -> None:
    assert cache.nbytes == sum(made.nbytes for made in cache._kept.values()) <= capacity
