"""Jobs on threads: those that wait can be withdrawn, those that run keep their thread until they end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
import torch
from tests.segmenter.tiny import PATIENCE, settle, until

from rsagent.segmenter.workers import Workers


class Gate:
    """Work that waits until it is let through."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.entered = 0

    def __call__(self) -> str:
        self.entered += 1
        assert self.go.wait(PATIENCE)
        return threading.current_thread().name


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    one = Workers(1)
    yield one
    await asyncio.to_thread(one.close)


async def test_work_runs_on_a_thread_of_its_own_with_one_torch_thread(workers: Workers) -> None:
    assert await workers.run(lambda: threading.current_thread().name.startswith("rsagent-segmenter"))
    assert await workers.run(torch.get_num_threads) == 1


async def test_a_failure_reaches_who_waits_and_the_thread_is_free_again(workers: Workers) -> None:
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await workers.run(lambda: 1 // 0)
    assert await workers.run(lambda: 7) == 7


async def test_as_many_run_as_there_are_threads() -> None:
    two, gate = Workers(2), Gate()
    running = [asyncio.create_task(two.run(gate)) for _ in range(3)]
    await until(lambda: gate.entered == 2)
    await settle()
    assert gate.entered == 2
    gate.go.set()
    await asyncio.gather(*running)
    assert gate.entered == 3
    await asyncio.to_thread(two.close)


async def test_work_that_waits_can_be_withdrawn(workers: Workers) -> None:
    gate, never = Gate(), Gate()
    running = asyncio.create_task(workers.run(gate))
    await until(lambda: gate.entered == 1)
    waiting = asyncio.create_task(workers.run(never))
    await settle()
    waiting.cancel()
    gate.go.set()
    await running
    assert await workers.run(lambda: 7) == 7
    assert (waiting.cancelled(), never.entered) == (True, 0)


async def test_work_that_runs_keeps_its_thread_though_nobody_waits(workers: Workers) -> None:
    gate = Gate()
    running = asyncio.create_task(workers.run(gate))
    await until(lambda: gate.entered == 1)
    running.cancel()
    await settle()
    assert running.cancelled()
    reserved = asyncio.create_task(workers.acquire())
    await settle()
    assert not reserved.done()
    gate.go.set()
    await reserved
    workers.release()


async def test_a_failure_nobody_waits_for_is_no_complaint(workers: Workers, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()

    def fail() -> None:
        gate()
        raise ValueError

    running = asyncio.create_task(workers.run(fail))
    await until(lambda: gate.entered == 1)
    running.cancel()
    await settle()
    gate.go.set()
    assert await workers.run(lambda: 7) == 7
    assert not caplog.records


async def test_a_reserved_thread_can_be_given_back(workers: Workers) -> None:
    await workers.acquire()
    waiting = asyncio.create_task(workers.run(lambda: 7))
    await settle()
    assert not waiting.done()
    workers.release()
    assert await waiting == 7


async def test_closed_threads_take_no_work_and_nobody_waits_for_them(workers: Workers) -> None:
    await workers.run(lambda: None)
    await asyncio.to_thread(workers.close)
    for _ in range(2):  # the second would wait for ever if the first had kept the reservation
        with pytest.raises(RuntimeError, match="shutdown"):
            await asyncio.wait_for(workers.run(lambda: 7), PATIENCE)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rsagent-segmenter")]
