"""Half an hour at 60 % load: resident memory over time, its slope, and a plot of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from loadtests import wire
from loadtests.overload import CALL, CAPACITY, INFLIGHT, TURN
from loadtests.stand import Stand, standing
from loadtests.verdict import Verdict

RATE = 0.6 * CAPACITY
EVERY = 2.0
"""Seconds between two looks at memory."""
WARM_UP = 0.2
"""Share of the run after which caches and allocators have settled."""


def measure(short: bool = False, plot: Path | None = None) -> list[Verdict]:
    """30 minutes (40 s if `short`); the plot, a PNG, goes to `plot`."""
    seconds = 40.0 if short else 1800.0
    with standing(TURN, CALL, RSAGENT_LIMITS__INFLIGHT=str(INFLIGHT)) as stand:
        samples, replies = asyncio.run(_soak(stand, seconds))
        held = stand.left_over()
    if plot is not None:
        _draw(samples, plot)
    settled = [sample for sample in samples if sample[0] >= WARM_UP * seconds]
    slope, noise = _slope(settled)
    bad = sum(reply.status != 200 for reply in replies)
    grown = slope * (settled[-1][0] - settled[0][0])
    more: dict[str, Any] = {"statuses": dict(Counter(reply.status for reply in replies))}
    more |= {"mb": [round(mb, 2) for _, mb in samples[:: max(1, len(samples) // 60)]], "requests": len(replies)}
    return [
        Verdict(
            "soak: memory gained over the run, by its slope",
            f"{grown:+.2f} MB ({slope * 3600:+.1f} MB/h)",
            f"within noise: < {2 * noise:.2f} MB or < 1 %",
            abs(grown) < max(2 * noise, 0.01 * settled[0][1]) or grown < 0,
            more,
        ),
        Verdict("soak: replies other than 200", str(bad), "0", bad == 0),
        Verdict("soak: left over", str(held or 0), "0", not held),
    ]


async def _soak(stand: Stand, seconds: float) -> tuple[list[tuple[float, float]], list[wire.Reply]]:
    started, samples = time.monotonic(), []

    async def watch() -> None:
        while True:
            samples.append((time.monotonic() - started, stand.memory() / 1e6))
            await asyncio.sleep(EVERY)

    watching = asyncio.create_task(watch())
    replies: list[wire.Reply] = []
    payloads = [wire.request(), wire.request(stream=True)]
    while (left := seconds - (time.monotonic() - started)) > 0:  # in pieces: replies are kept without their bodies
        piece = await wire.offer(stand.address, payloads[len(replies) % 2], RATE, min(10.0, max(1.0, left)))
        replies += [wire.Reply(reply.status, reply.seconds, reply.total, b"", reply.hung) for reply in piece]
    watching.cancel()
    return samples, replies


def _slope(samples: list[tuple[float, float]]) -> tuple[float, float]:
    """Megabytes a second by least squares, and the standard deviation (MB) of what the line leaves over."""
    times, values = np.array(samples).T
    line = np.polyfit(times, values, 1)
    return float(line[0]), float(np.std(values - np.polyval(line, times)))


def _draw(samples: list[tuple[float, float]], path: Path) -> None:
    """Megabytes over minutes, from zero: a leak that matters is one that is seen."""
    width, height, margin = 800, 300, 50
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    end, top = samples[-1][0], 1.25 * max(mb for _, mb in samples)

    def place(seconds: float, mb: float) -> tuple[float, float]:
        x = margin + (width - 2 * margin) * seconds / end
        return x, height - margin - (height - 2 * margin) * mb / top

    for share in (0, 0.25, 0.5, 0.75, 1):
        left, right = place(0, share * top), place(end, share * top)
        pen.line([left, right], "#dddddd")
        pen.text((4, left[1] - 6), f"{share * top:.0f} MB", "black")
        pen.text((place(share * end, 0)[0] - 12, height - margin + 6), f"{share * end / 60:.1f} min", "black")
    pen.line([place(*sample) for sample in samples], "#1f5fbf", 2)
    pen.text((margin, 8), "resident memory of the service under steady load", "black")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
