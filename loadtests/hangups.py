"""Clients that are killed mid-turn, in crowds: nothing they held is left two seconds later."""

from __future__ import annotations

import asyncio
import random

from rich.progress import track

from loadtests import wire
from loadtests.stand import Stand, standing
from loadtests.verdict import Verdict

CLIENTS = 100


def measure(short: bool = False) -> list[Verdict]:
    """20 rounds (3 if `short`) of 100 clients, half of them streaming, killed at random moments of their turns."""
    rounds, left = 3 if short else 20, []
    with standing(0.5, 0.5, RSAGENT_LIMITS__INFLIGHT=str(CLIENTS // 2), RSAGENT_LIMITS__QUEUE=str(CLIENTS)) as stand:
        for number in track(range(rounds), description="rounds"):
            asyncio.run(_round(stand, random.Random(number)))
            held = stand.left_over(2.0)
            if held:
                left.append(held)
        cancelled = stand.metrics()["rsagent_cancelled_total"]
    more = {"rounds": rounds, "clients": CLIENTS, "cancelled": cancelled}
    what = f"{rounds} rounds of {CLIENTS} clients killed mid-turn: rounds with anything left after 2 s"
    killed = f"killed clients that were seen to go: {cancelled:.0f} of {rounds * CLIENTS}"
    return [
        Verdict(what, str(left or 0), "0", not left, more),
        Verdict("killed clients noticed", killed, "all", cancelled == rounds * CLIENTS),
    ]


async def _round(stand: Stand, dice: random.Random) -> None:
    await asyncio.gather(*(_client(stand, number, dice.uniform(0.2, 1.2)) for number in range(CLIENTS)))


async def _client(stand: Stand, number: int, lifetime: float) -> None:
    """Ask, live for a while, and vanish without a word."""
    reader, writer = await asyncio.open_connection(*stand.address)
    writer.write(wire.request(stream=bool(number % 2)))
    try:
        async with asyncio.timeout(lifetime):
            await reader.read()
    except TimeoutError:
        pass
    finally:
        writer.transport.abort()
