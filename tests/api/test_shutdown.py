"""An orderly end: nothing new, a grace for what runs, then a typed error."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.stage import FINISH, PNG, SEGMENT, Cast, events_of, on_air, on_stage

from rsagent.policy.fake import ScriptedPolicy


def slow() -> ScriptedPolicy:
    return ScriptedPolicy([SEGMENT, FINISH], delay=0.2)


async def test_closing_lets_finish_what_runs_and_refuses_the_rest() -> None:
    async with on_stage(Cast(policy=slow())) as stage:
        running = asyncio.create_task(stage.post())
        await asyncio.sleep(0.1)
        stage.house.close(grace=5)
        refused, ready = await stage.post(), await stage.client.get("/readyz")
        assert (await stage.client.get("/livez")).status_code == 200
        assert (await running).json()["status"] == "segmented"
    assert (refused.status_code, refused.json()["code"], refused.json()["retryable"]) == (503, "shutting_down", True)
    assert (ready.status_code, ready.json()["status"]) == (503, "draining")


@pytest.mark.parametrize("stream", [True, False])
async def test_after_the_grace_what_runs_ends_with_a_typed_error(stream: bool) -> None:
    async with on_air(Cast(policy=slow())) as stage:
        running = asyncio.create_task(stage.post(stream=stream))
        await asyncio.sleep(0.1)
        stage.house.close(grace=0.01)
        response = await running
        await stage.quiet()
    if stream:
        last = events_of(response.text)[-1]
        assert (last.name, last.data["code"]) == ("error", "shutting_down")
    else:
        assert (response.status_code, response.json()["code"]) == (503, "shutting_down")


ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio
from contextlib import nullcontext
from rsagent.api.app import create_app
from rsagent.api.server import Server
from rsagent.settings import Settings
from tests.api.stage import SEGMENT, FINISH
from rsagent.policy.fake import ScriptedPolicy
from rsagent.segmenter.fake import FakeSegmenter
from rsagent.service import open_service

async def main():
    settings = Settings(server={"port": 0, "drain": 0.3})
    policy = ScriptedPolicy([SEGMENT, FINISH], delay=30)
    app = create_app(settings, lambda s: open_service(s, policy=policy, segmenter=FakeSegmenter()))
    await Server(app, settings.server, lambda url: print(url, flush=True)).serve()

asyncio.run(main())
"""


async def test_sigterm_ends_a_stream_with_an_event_and_the_process_in_time() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": "."}
    )
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        async with httpx.AsyncClient(base_url=url, timeout=10) as client:
            headers = {"Accept": "text/event-stream"}
            form: Any = {"data": {"query": "x"}, "files": {"image": ("p", PNG)}}
            running = asyncio.create_task(client.post("/v1/segment", headers=headers, **form))
            await asyncio.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            last = events_of((await running).text)[-1]
        assert (last.name, last.data["code"]) == ("error", "shutting_down")
        assert await asyncio.wait_for(process.wait(), 5) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
