"""Several services behind one address: each has all it needs, and none misses the others."""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from tests.api.stage import PNG, Cast, on_air

ROOT = Path(__file__).resolve().parents[2]
REQUESTS = 40
"""Enough that both get some: all on one of two would be one chance in 2⁴⁰."""


def shared(port: int) -> Cast:
    settings: dict[str, Any] = {"server": {"shared": True, "port": port}}
    return Cast(settings=settings)


async def ask(url: str) -> None:
    """On a connection of its own, as of another client."""
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        response = await http.post(f"{url}/v1/segment", data={"query": "the box"}, files={"image": PNG})
    assert response.status_code == 200, response.text
    assert response.json()["status"] == "segmented"


async def test_services_that_share_a_port_share_its_requests_and_nothing_else() -> None:
    async with on_air(shared(0)) as one:
        port = one.listening.getsockname()[1]
        async with on_air(shared(port)) as other:
            assert other.url == one.url
            for _ in range(REQUESTS):
                await ask(one.url)
            counts = [stage.metric("requests_total", outcome="segmented") for stage in (one, other)]
            assert sum(counts) == REQUESTS
            assert min(counts) > 0
        for _ in range(4):  # the other has gone: whoever comes is served
            await ask(one.url)
        assert one.metric("requests_total", outcome="segmented") == counts[0] + 4


@asynccontextmanager
async def neighbour(port: int) -> AsyncIterator[tuple[Process, int]]:
    """A service in a process of its own, and its port."""
    words = ("-m", "tests.api.neighbour", str(port))
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdin=PIPE, stdout=PIPE, cwd=ROOT)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            yield process, int(await process.stdout.readline())
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def answered(process: Process) -> int:
    """End it; how many requests it had."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    return int(await process.stdout.readline())


async def test_processes_that_share_a_port_share_its_requests() -> None:
    async with neighbour(0) as (one, port), neighbour(port) as (other, same):
        assert same == port
        for _ in range(REQUESTS):
            await ask(f"http://127.0.0.1:{port}")
        counts = [await answered(one), await answered(other)]
    assert sum(counts) == REQUESTS
    assert min(counts) > 0


async def test_by_itself_a_port_is_not_shared() -> None:
    async with on_air() as stage:
        with socket.socket() as second:
            second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                second.bind(stage.listening.getsockname())
            except OSError:
                return
    raise AssertionError("another process could have taken a share of the requests")
