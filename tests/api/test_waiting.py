from __future__ import annotations

import asyncio
from typing import NoReturn

import pytest
from starlette.types import Message

from rsagent.api.waiting import ClientGone, Drain, hung_up, unless
from rsagent.errors import ShuttingDown


async def after(seconds: float, value: int = 0) -> int:
    await asyncio.sleep(seconds)
    return value


async def stop(seconds: float) -> NoReturn:
    await asyncio.sleep(seconds)
    raise ClientGone


async def test_work_that_is_done_first_counts() -> None:
    assert await unless(after(0, 7), stop(9)) == 7


async def test_a_stop_cancels_the_work_and_waits_for_its_end() -> None:
    cleaned = False

    async def work() -> None:
        nonlocal cleaned
        try:
            await asyncio.sleep(9)
        finally:
            await asyncio.sleep(0.01)
            cleaned = True

    with pytest.raises(ClientGone):
        await unless(work(), stop(0.01))
    assert cleaned


async def test_cancelling_the_wait_cancels_the_work() -> None:
    tasks = asyncio.all_tasks()
    waiting = asyncio.create_task(unless(after(9), stop(9)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert asyncio.all_tasks() == tasks


async def test_work_raises_its_own_errors() -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await unless(fails(), stop(9))


async def test_hanging_up_is_the_only_message_that_counts() -> None:
    messages: list[Message] = [{"type": "http.request"}, {"type": "http.disconnect"}]

    async def receive() -> Message:
        return messages.pop(0)

    with pytest.raises(ClientGone):
        await hung_up(receive)
    assert messages == []


async def test_a_drain_cuts_off_once() -> None:
    drain = Drain()
    work = asyncio.create_task(unless(after(9), drain.cut_off()))
    await asyncio.sleep(0)
    drain.cut()
    with pytest.raises(ShuttingDown):
        await work
