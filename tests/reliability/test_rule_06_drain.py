"""Rule 6: SIGTERM under load: unready, refuse new, drain, `error{code:"shutting_down"}`, exit; no stream cut short."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from tests.api.stage import PNG, ServerSentEvent, events_of

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, sys
from rsagent.api.app import create_app
from rsagent.api.server import Server
from rsagent.settings import Settings
from tests.api.stage import SEGMENT, FINISH
from rsagent.policy.fake import ScriptedPolicy
from rsagent.segmenter.fake import FakeSegmenter
from rsagent.service import open_service

async def main(drain, linger, delay):
    settings = Settings(server={"port": 0, "drain": drain, "linger": linger}, limits={"inflight": 12})
    policy = ScriptedPolicy([SEGMENT, FINISH], delay=delay)
    app = create_app(settings, lambda s: open_service(s, policy=policy, segmenter=FakeSegmenter()))
    await Server(app, settings.server, lambda url: print(url, flush=True)).serve()

asyncio.run(main(*map(float, sys.argv[1:])))
"""


@asynccontextmanager
async def program(
    drain: float, linger: float, delay: float
) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(drain), str(linger), str(delay),
        stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": "."},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            yield process, client
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def post(client: httpx.AsyncClient, accept: str = "text/event-stream") -> httpx.Response:
    files = {"image": ("p", PNG)}
    return await client.post("/v1/segment", headers={"Accept": accept}, data={"query": "x"}, files=files)


def last_event(answer: httpx.Response) -> ServerSentEvent:
    assert answer.text.endswith("\n\n"), "the stream was cut short"
    return events_of(answer.text)[-1]


async def load(client: httpx.AsyncClient) -> list[asyncio.Task[httpx.Response]]:
    running = [asyncio.create_task(post(client)) for _ in range(8)]
    running += [asyncio.create_task(post(client, "application/json")) for _ in range(4)]
    metrics = ""
    async with asyncio.timeout(30):
        while "rsagent_inflight 12.0" not in metrics:
            metrics = (await client.get("/metrics")).text
    return running


async def test_what_runs_too_long_ends_with_a_typed_error_and_the_process_within_its_grace() -> None:
    async with program(drain=1, linger=0, delay=60) as (process, client):
        running = await load(client)
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        await asyncio.sleep(0.2)
        ready, refused = await client.get("/readyz"), await post(client)
        assert (ready.status_code, ready.json()["status"]) == (503, "draining")
        assert (refused.status_code, refused.json()["code"]) == (503, "shutting_down")
        answers = await asyncio.gather(*running)
        assert await asyncio.wait_for(process.wait(), 15) == 0
        assert time.monotonic() - started < 10
    streams, documents = answers[:8], answers[8:]
    assert {(last_event(answer).name, last_event(answer).data["code"]) for answer in streams} == {
        ("error", "shutting_down")
    }
    assert {(answer.status_code, answer.json()["code"]) for answer in documents} == {(503, "shutting_down")}


async def test_what_ends_within_the_grace_is_answered() -> None:
    async with program(drain=20, linger=0, delay=0.7) as (process, client):
        running = await load(client)
        process.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(*running)
        assert await asyncio.wait_for(process.wait(), 15) == 0
    assert {last_event(answer).name for answer in answers[:8]} == {"final"}
    assert {answer.json()["status"] for answer in answers[8:]} == {"segmented"}


async def test_an_idle_service_stays_a_while_to_say_that_it_goes() -> None:
    async with program(drain=20, linger=1.5, delay=0) as (process, client):
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        assert (await client.get("/readyz")).json()["status"] == "draining"
        assert await asyncio.wait_for(process.wait(), 15) == 0


async def test_a_second_signal_ends_at_once() -> None:
    async with program(drain=60, linger=0, delay=60) as (process, client):
        running = await load(client)
        process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.wait(), 15)
        await asyncio.gather(*running, return_exceptions=True)
