"""Half an hour of everyday traffic: resident memory over time, its slope, and a plot of it.

Everyday means documents and streams, with and without an Idempotency-Key, damaged pictures, and clients who leave: a
leak would sit where others do not look.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from loadtests import mutants, wire
from loadtests.overload import CALL, CAPACITY, INFLIGHT, TURN
from loadtests.stand import Stand, standing
from loadtests.verdict import Verdict

RATE = 0.25 * CAPACITY
"""Requests a second: little, so that a machine with other work serves every one of them."""
LEAVING = 1.0
"""Seconds between two clients who leave mid-turn."""
PIECE = 10.0
"""Seconds of traffic whose replies are looked at together: an hour of bodies is more than this process should keep."""
EVERY = 2.0
"""Seconds between two looks at memory."""
WARM_UP = 0.2
"""Share of the run after which caches and allocators have settled."""
KEEP = "30"
"""Seconds that finished answers are kept for their Idempotency-Key: less than the warm-up, so that they come and go."""

Sample = tuple[float, float]
"""Seconds, and megabytes."""


def measure(short: bool = False, plot: Path | None = None) -> list[Verdict]:
    """30 minutes (40 s if `short`); the plot, a PNG, goes to `plot`."""
    seconds = 40.0 if short else 1800.0
    with standing(
        TURN, CALL,
        RSAGENT_IDEMPOTENCY__KEEP=KEEP, RSAGENT_LIMITS__INFLIGHT=str(INFLIGHT), RSAGENT_LIMITS__QUEUE="64",
    ) as stand:  # fmt: skip
        samples, statuses = asyncio.run(_soak(stand, seconds))
        held = stand.left_over()
    settled = [sample for sample in samples if sample[0] >= WARM_UP * seconds]
    slope, noise = _slope(settled)
    if plot is not None:
        _draw(samples, settled, slope, plot)
    return _verdicts(settled, slope, noise, statuses, held, samples)


def _verdicts(
    settled: list[Sample],
    slope: float,
    noise: float,
    statuses: Counter[int],
    held: dict[str, float],
    samples: list[Sample],
) -> list[Verdict]:
    grown = slope * (settled[-1][0] - settled[0][0])
    bad = sum(count for status, count in statuses.items() if status >= 429 or not status)
    more: dict[str, Any] = {"statuses": dict(statuses), "requests": statuses.total()}
    more |= {"mb": [round(mb, 2) for _, mb in samples[:: max(1, len(samples) // 60)]]}
    return [
        Verdict(
            "soak: memory gained over the run, by its slope",
            f"{grown:+.2f} MB ({slope * 3600:+.1f} MB/h)",
            f"within noise: < {2 * noise:.2f} MB or < 1 %",
            grown < max(2 * noise, 0.01 * settled[0][1]),
            more,
        ),
        Verdict("soak: 429, 5xx or no answer", f"{bad} of {statuses.total():,}", "0", bad == 0),
        Verdict("soak: left over", str(held or 0), "0", not held),
    ]


async def _soak(stand: Stand, seconds: float) -> tuple[list[Sample], Counter[int]]:
    started, samples = time.monotonic(), []

    async def watch() -> None:
        while True:
            samples.append((time.monotonic() - started, stand.memory() / 1e6))
            await asyncio.sleep(EVERY)

    others = [asyncio.create_task(watch()), asyncio.create_task(_leave(stand))]
    statuses, payloads = Counter[int](), _everyday()
    while (left := seconds - (time.monotonic() - started)) > 0:
        replies = await wire.offer(stand.address, payloads, RATE, min(PIECE, max(1.0, left)))
        statuses.update(reply.status for reply in replies)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return samples, statuses


def _everyday() -> Iterator[bytes]:
    """Payloads without end."""
    plain, damaged = [wire.request(), wire.request(stream=True)], itertools.cycle(mutants.pictures(50))
    for number in itertools.count():
        yield plain[number % 2]
        yield wire.request(stream=bool(number % 2), Idempotency_Key=f"soak-{number}")
        yield wire.request(stream=bool(number % 2), picture=next(damaged))


async def _leave(stand: Stand) -> None:
    payload = wire.request(stream=True)
    while True:
        await wire.send(stand.address, payload, patience=TURN)
        await asyncio.sleep(LEAVING)


def _slope(samples: list[Sample]) -> tuple[float, float]:
    """Megabytes a second by least squares, and the standard deviation (MB) of what the line leaves over."""
    times, values = np.array(samples).T
    line = np.polyfit(times, values, 1)
    return float(line[0]), float(np.std(values - np.polyval(line, times)))


def _draw(samples: list[Sample], settled: list[Sample], slope: float, path: Path) -> None:
    """Megabytes over minutes, from zero: a leak that matters is one that is seen."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    minutes, megabytes = np.array(samples).T / [[60.0], [1.0]]
    figure, axes = plt.subplots(figsize=(7.0, 3.2), layout="constrained")
    axes.plot(minutes, megabytes, color="#4878a8", label="resident memory of the service")
    begin, end = settled[0][0], settled[-1][0]
    middle = float(np.mean([mb for _, mb in settled]))
    line = [middle + slope * (at - (begin + end) / 2) for at in (begin, end)]
    axes.plot([begin / 60, end / 60], line, "--", color="black", label=f"slope {slope * 3600:+.1f} MB/h")
    axes.set_ylim(0, 1.25 * megabytes.max())
    axes.set_xlabel(f"minutes at {RATE:.0f} requests a second, some of them damaged or given up")
    axes.set_ylabel("MB")
    axes.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
