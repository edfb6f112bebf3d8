"""Clients of the service: each sends a picture, reads its events to the end, and sends the next."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from loadtests.bench.recording import Recording

PATIENCE = 900.0
"""Seconds for a request: a large encoder on a small machine takes its time."""


@dataclass(frozen=True)
class Asked:
    """A request: seconds from its sending to the first byte of the stream, to each mask, and to the last event."""

    first_byte: float
    masks: tuple[float, ...]
    final: float
    answer: dict[str, Any] = field(repr=False)

    @property
    def gaps(self) -> tuple[float, ...]:
        """Seconds from one turn's mask to the next."""
        return tuple(later - earlier for earlier, later in itertools.pairwise(self.masks))


def client(url: str) -> httpx.AsyncClient:
    """Connections to a service, as many as are asked for."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=256)
    return httpx.AsyncClient(base_url=url, timeout=PATIENCE, limits=limits, trust_env=False)


def form(recording: Recording, *, seeded: bool = True) -> dict[str, Any]:
    """The request of a recording, for httpx. Its seed is its number, by which the policy knows what to say."""
    data = {"query": recording.query, "max_turns": str(len(recording.turns)), "deadline_ms": f"{PATIENCE * 1000:.0f}"}
    if seeded:
        data["seed"] = str(recording.number)
    return {"files": {"image": recording.file}, "data": data, "headers": {"Accept": "text/event-stream"}}


async def ask(http: httpx.AsyncClient, recording: Recording) -> Asked:
    """Send a recording's request and read its events. Raises RuntimeError where it does not come to an answer."""
    started, first, masks = time.perf_counter(), 0.0, []
    async with http.stream("POST", "/v1/segment", **form(recording)) as response:
        if response.status_code != httpx.codes.OK:
            raise RuntimeError(f"the service answered {response.status_code}: {(await response.aread())[:300]!r}")
        async for name, data in events(response.aiter_raw()):
            now = time.perf_counter() - started
            first = first or now
            if name == b"mask":
                masks.append(now)
            elif name == b"final":
                return Asked(first, tuple(masks), now, json.loads(data))
            elif name == b"error":
                raise RuntimeError(f"an episode failed: {data[:300]!r}")
    raise RuntimeError("the stream ended without a final event")


async def events(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[bytes, bytes]]:
    """Name and data of each event. Only what the service writes is understood: clients share its cores, and shall
    take little of them."""
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n\n")
        for block in whole:
            fields = dict(line.partition(b": ")[::2] for line in block.split(b"\n"))
            yield fields.get(b"event", b""), fields.get(b"data", b"")


async def load(url: str, recordings: Sequence[Recording], clients: int) -> tuple[float, list[Asked]]:
    """All recordings by so many clients; the seconds that took, and the requests."""
    waiting = iter(recordings)
    async with client(url) as http:

        async def user() -> list[Asked]:
            return [await ask(http, recording) for recording in waiting]

        started = time.perf_counter()
        each = await asyncio.gather(*(user() for _ in range(clients)))
        return time.perf_counter() - started, [asked for one in each for asked in one]
