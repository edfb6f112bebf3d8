"""Four times the capacity for a minute: only 200 and 429, refusals in no time, memory flat."""

from __future__ import annotations

import asyncio
from collections import Counter

from loadtests import wire
from loadtests.stand import Stand, standing
from loadtests.verdict import Verdict, percentile

INFLIGHT, TURN, CALL = 8, 0.1, 0.02
CAPACITY = INFLIGHT / (2 * TURN + CALL)
"""Requests a second that the engines' own times allow: two turns and a call each."""


def measure(short: bool = False) -> list[Verdict]:
    """4 × capacity for 60 s (5 s if `short`), after a warm-up at the same load."""
    seconds = 5.0 if short else 60.0
    with standing(TURN, CALL, RSAGENT_LIMITS__INFLIGHT=str(INFLIGHT), RSAGENT_LIMITS__QUEUE="16") as stand:
        asyncio.run(_load(stand, 3.0 if short else 10.0))
        before = stand.memory()
        replies = asyncio.run(_load(stand, seconds))
        grown = stand.memory() / before - 1
        held = stand.left_over()
    return _verdicts(replies, grown, held, seconds)


async def _load(stand: Stand, seconds: float) -> list[wire.Reply]:
    return await wire.offer(stand.address, wire.request(), 4 * CAPACITY, seconds)


def _verdicts(replies: list[wire.Reply], grown: float, held: dict[str, float], seconds: float) -> list[Verdict]:
    statuses = Counter(reply.status for reply in replies)
    refused = [reply.seconds * 1000 for reply in replies if reply.status == 429]
    others = sum(count for status, count in statuses.items() if status not in (200, 429))
    p99 = percentile(refused, 99)
    more = {"statuses": dict(statuses), "offered_per_s": 4 * CAPACITY, "p50_ms": percentile(refused, 50)}
    served = statuses[200] / seconds / CAPACITY
    return [
        Verdict("4× overload: replies other than 200/429", str(others), "0", others == 0, more),
        Verdict("4× overload: p99 of a 429", f"{p99:.1f} ms", "< 50 ms", bool(refused) and p99 < 50),
        Verdict("4× overload: growth of memory", f"{grown:.1%}", "< 5 %", grown < 0.05),
        Verdict("4× overload: capacity used", f"{served:.0%}", "≥ 80 %", served >= 0.8),
        Verdict("4× overload: left over after 2 s", str(held or 0), "0", not held),
    ]
