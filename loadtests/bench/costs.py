"""What one of each costs at saturation on this machine: the figures of the capacity model (`loadtests.capacity`)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from loadtests.bench.account import Account
from loadtests.bench.contenders import Hall, Played, Work
from loadtests.bench.measure import Numbers, Tell
from loadtests.bench.scale import Scale
from loadtests.capacity import Costs, Episode, Fleet, Measurement

TURNS = 4


async def costs(hall: Hall, numbers: Numbers, scale: Scale, fleet: Fleet, tell: Tell) -> Costs:
    """Seconds of one engine, or one replica, for one of each; those of the orchestrator are left at 0.

    Prompts are read by turns of a single token, so that nothing is generated; what whole turns take beyond that is the
    generating. Pictures are encoded the first time that prompts are asked, and only then.
    """
    work = Work(numbers.take(scale.clients, TURNS), scale.clients)
    tell("costs: reading prompts")
    reading = await _played(hall, "reading", [work])
    tell("costs: generating")
    speaking = await _played(hall, "speaking", [work])
    tell("costs: encoding and decoding")
    encoding, decoding = await _played(hall, "prompts", [work, work])
    prefill = fleet.engines * reading[0].seconds / prefilled(reading[0].account)
    rest = fleet.engines * speaking[0].seconds - prefilled(speaking[0].account) * prefill
    decode = fleet.replicas * decoding.seconds / decoding.account.decodes
    encode = fleet.replicas * encoding.seconds - encoding.account.decodes * decode
    return Costs(
        prefill=prefill,
        generate=max(0.0, rest) / speaking[0].account.completion_tokens,
        encode=max(0.0, encode) / encoding.account.encodes,
        decode=decode,
        turn=0.0,
        request=0.0,
    )


async def _played(hall: Hall, role: str, works: Sequence[Work]) -> list[Played]:
    async with hall.worker(role) as worker:
        return [await worker.play(work) for work in works]


def prefilled(account: Account) -> int:
    """Prompt tokens that were computed."""
    return account.prompt_tokens - account.cached_tokens


def episode(account: Account) -> Episode:
    """The mean episode of an account."""
    count = account.episodes
    return Episode(
        turns=account.turns / count,
        prompts=account.decodes / count,
        images=account.encodes / count,
        prefilled_tokens=prefilled(account) / count,
        generated_tokens=account.completion_tokens / count,
    )


def measurement(unit: str, found: Costs, fleet: Fleet, service: Sequence[Played]) -> Measurement:
    """What `loadtests.capacity` reads: the costs, and what the service reached on `fleet`."""
    account = Account.total(played.account for played in service)
    rate = statistics.median(played.rate for played in service)
    return Measurement(unit, episode(account), found, fleet, rate)


def document(found: Measurement) -> dict[str, Any]:
    """As JSON that `Measurement.read` takes."""
    return asdict(found)
