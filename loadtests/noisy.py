"""A key that asks for ten times as much as another: what the other one notices of it."""

from __future__ import annotations

import asyncio
import json

from loadtests import wire
from loadtests.overload import CALL, CAPACITY, INFLIGHT, TURN
from loadtests.stand import Stand, standing
from loadtests.verdict import Verdict, percentile
from rsagent.api.keys import hash_key

NOISY, QUIET = "noisy-" + "n" * 32, "quiet-" + "q" * 32
RATE = 0.25 * CAPACITY
"""Requests a second of the quiet key; ten times that is 2.5 times what the service can do."""


def measure(short: bool = False) -> list[Verdict]:
    """The quiet key alone for 30 s (5 s if `short`), then beside the noisy one at ten times its rate."""
    seconds = 5.0 if short else 30.0
    hashes = json.dumps({"noisy": hash_key(NOISY), "quiet": hash_key(QUIET)})
    with standing(
        TURN, CALL,
        RSAGENT_KEYS__HASHES=hashes, RSAGENT_LIMITS__INFLIGHT=str(INFLIGHT), RSAGENT_LIMITS__QUEUE="16",
    ) as stand:  # fmt: skip
        asyncio.run(wire.offer(stand.address, wire.request(X_API_Key=QUIET), RATE, 2.0))
        alone = asyncio.run(wire.offer(stand.address, wire.request(X_API_Key=QUIET), RATE, seconds))
        beside, noise = asyncio.run(_both(stand, seconds))
    base, loaded = _p95(alone), _p95(beside)
    refused = sum(reply.status != 200 for reply in beside)
    more = {"alone_p95_ms": base, "beside_p95_ms": loaded, "noisy_served": sum(r.status == 200 for r in noise)}
    ratio = loaded / base if base else float("inf")
    return [
        Verdict("noisy key at 10×: the quiet key's p95 over its own", f"{ratio:.2f}×", "≤ 1.5×", ratio <= 1.5, more),
        Verdict("noisy key at 10×: refusals of the quiet key", str(refused), "0", refused == 0),
    ]


async def _both(stand: Stand, seconds: float) -> tuple[list[wire.Reply], list[wire.Reply]]:
    noisy = asyncio.create_task(wire.offer(stand.address, wire.request(X_API_Key=NOISY), 10 * RATE, seconds + 2))
    await asyncio.sleep(1)
    quiet = await wire.offer(stand.address, wire.request(X_API_Key=QUIET), RATE, seconds)
    return quiet, await noisy


def _p95(replies: list[wire.Reply]) -> float:
    return percentile([reply.total * 1000 for reply in replies if reply.status == 200], 95)
