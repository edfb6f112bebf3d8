"""Rule 8: a breaker for each dependency: one that is down costs nobody time, and comes back by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from tests.api.stage import FINISH, SEGMENT, Cast, Stage, on_stage
from tests.resilience.test_engines import Flaky

from rsagent.deadline import Deadline
from rsagent.errors import PolicyError
from rsagent.policy.fake import ScriptedPolicy
from rsagent.policy.protocol import History, PolicyTurn, Sampling, TextDelta

SETTINGS: dict[str, Any] = {"resilience": {"breaker": {"failures": 3, "cooldown": 0.1, "longest": 0.2}}}


class Stoppable(ScriptedPolicy):
    """A policy engine that can be stopped and started: connecting to a stopped one takes a while and fails."""

    async def act(
        self, history: History, sampling: Sampling, deadline: Deadline
    ) -> AsyncGenerator[TextDelta | PolicyTurn, None]:
        if not self.healthy:
            self.started += 1
            await asyncio.sleep(0.05)
            raise PolicyError("the policy server cannot be reached")
        async for piece in super().act(history, sampling, deadline):
            yield piece


async def until_open(stage: Stage) -> None:
    for _ in range(3):
        assert (await stage.post()).json()["code"] in ("policy_error", "segmenter_error")


async def test_a_stopped_policy_is_unready_answered_in_no_time_and_found_again_unaided() -> None:
    policy = Stoppable([SEGMENT, FINISH])
    async with on_stage(Cast(policy=policy, settings=SETTINGS)) as stage:
        assert (await stage.post()).status_code == 200
        policy.healthy = False
        ready = await stage.client.get("/readyz")
        assert (ready.status_code, ready.json()["policy"]) == (503, False)
        await until_open(stage)
        asked, started = policy.started, time.monotonic()
        refused = [await stage.post(stream=bool(number % 2)) for number in range(10)]
        assert (time.monotonic() - started) / 10 < 0.1
        assert policy.started == asked, "nobody asked it"
        assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(503, "unavailable")}
        assert all(answer.json()["retryable"] and "retry-after" in answer.headers for answer in refused)
        assert stage.metric("breaker_open", engine="policy engine") == 1
        policy.healthy = True
        await asyncio.sleep(0.6)
        assert (await stage.client.get("/readyz")).status_code == 200
        assert (await stage.post()).status_code == 200
        assert stage.metric("breaker_open", engine="policy engine") == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_segmenter_has_a_breaker_of_its_own(stream: bool) -> None:
    down = True
    segmenter = Flaky(lambda call: down)
    segmenter.healthy = False
    async with on_stage(Cast(segmenter=segmenter, settings=SETTINGS)) as stage:
        await until_open(stage)
        asked = segmenter.calls
        assert (await stage.post(stream=stream)).json()["code"] == "unavailable"
        assert segmenter.calls == asked
        down, segmenter.healthy = False, True
        await asyncio.sleep(0.6)
        assert (await stage.post()).json()["status"] == "segmented"


async def test_an_episode_under_way_ends_typed_when_its_engine_goes() -> None:
    policy = Stoppable([SEGMENT.replace("250", str(n)) for n in range(250, 258)], piece=10, piece_delay=0.02)
    async with on_stage(Cast(policy=policy, settings=SETTINGS)) as stage:
        running = asyncio.create_task(stage.stream())
        async with asyncio.timeout(10):
            while not stage.segmenter.calls:
                await asyncio.sleep(0.01)
        policy.healthy = False
        events = await running
    assert (events[-1].name, events[-1].data["code"]) == ("error", "policy_error")
