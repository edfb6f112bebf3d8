from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from rsagent.api.gate import Gate
from rsagent.errors import Overloaded, ShuttingDown
from rsagent.metrics import Metrics
from rsagent.settings import Limits


def make(inflight: int = 1, queue: int = 1, queue_timeout: float = 5.0) -> tuple[Gate, Metrics]:
    metrics = Metrics()
    return Gate(Limits(inflight=inflight, queue=queue, queue_timeout=queue_timeout), metrics), metrics


def gauge(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"rsagent_{name}", labels) or 0.0


async def enter_and_hold(gate: Gate, seconds: float) -> float:
    async with gate.permit() as waited:
        await asyncio.sleep(seconds)
        return waited


async def test_who_finds_it_free_does_not_wait() -> None:
    gate, metrics = make()
    async with gate.permit() as waited:
        assert waited < 0.01
        assert gauge(metrics, "inflight") == gate.running == 1
    assert gauge(metrics, "inflight") == gate.running == 0


async def test_waiting_is_first_come_first_served() -> None:
    gate, metrics = make(queue=5)
    order: list[int] = []

    async def guest(number: int) -> None:
        async with gate.permit():
            order.append(number)
            await asyncio.sleep(0.001)

    guests = [asyncio.create_task(guest(number)) for number in range(6)]
    await asyncio.sleep(0)
    assert gauge(metrics, "queue_depth") == gate.waiting == 5
    await asyncio.gather(*guests)
    assert order == list(range(6))
    assert gauge(metrics, "queue_depth") == 0


async def test_a_full_queue_turns_away_at_once_with_an_estimate() -> None:
    gate, metrics = make(queue=0)
    async with gate.permit():
        with pytest.raises(Overloaded) as refusal:
            await enter_and_hold(gate, 0)
    assert (refusal.value.retry_after or 0) >= 1
    assert gauge(metrics, "rejected_total", reason="full") == 1


async def test_a_wait_too_long_is_turned_away() -> None:
    gate, metrics = make(queue_timeout=0.05)
    async with gate.permit():
        with pytest.raises(Overloaded):
            await enter_and_hold(gate, 0)
    assert gauge(metrics, "rejected_total", reason="timeout") == 1
    assert (gate.running, gate.waiting) == (0, 0)


async def test_closing_sends_away_those_who_wait_and_come_but_not_those_inside() -> None:
    gate, metrics = make()
    inside = asyncio.create_task(enter_and_hold(gate, 0.05))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(enter_and_hold(gate, 0))
    await asyncio.sleep(0)
    gate.close()
    for late in (waiting, enter_and_hold(gate, 0)):
        with pytest.raises(ShuttingDown):
            await late
    assert await inside < 0.01
    assert gauge(metrics, "rejected_total", reason="draining") >= 1
    assert (gate.running, gate.waiting) == (0, 0)


@pytest.mark.parametrize("seed", range(5))
async def test_permits_always_come_back(seed: int) -> None:
    dice = random.Random(seed)
    gate, metrics = make(inflight=3, queue=10, queue_timeout=0.02)
    peak = 0

    async def guest() -> None:
        nonlocal peak
        with suppress(Overloaded, ZeroDivisionError):
            async with gate.permit():
                peak = max(peak, gate.running)
                await asyncio.sleep(dice.random() * 0.01)
                if dice.random() < 0.3:
                    raise ZeroDivisionError

    guests = []
    for _ in range(200):
        guests.append(asyncio.create_task(guest()))
        if dice.random() < 0.5:
            await asyncio.sleep(dice.random() * 0.002)
        if dice.random() < 0.4:
            dice.choice(guests).cancel()
    await asyncio.gather(*guests, return_exceptions=True)
    assert peak == 3
    assert (gate.running, gate.waiting) == (0, 0)
    assert gauge(metrics, "inflight") == gauge(metrics, "queue_depth") == 0


async def test_a_permit_that_comes_with_a_cancellation_is_passed_on() -> None:
    gate, _ = make(queue=2)
    async with gate.permit():
        first = asyncio.create_task(enter_and_hold(gate, 0))
        second = asyncio.create_task(enter_and_hold(gate, 0))
        await asyncio.sleep(0)
    first.cancel()  # its turn has come, but it does not know yet
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert (gate.running, gate.waiting) == (0, 0)
