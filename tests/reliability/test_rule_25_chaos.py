"""Rule 25: whatever part fails under load, errors are typed, streams have an end, permits come back.

A slice with engines in this process; `python -m loadtests reliability chaos soak` kills real processes for ten minutes
and watches memory for thirty.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from tests.api.stage import FINISH, SEGMENT, Cast, Stage, events_of, on_air
from tests.reliability.test_rule_07_retry import TwoReplicas
from tests.reliability.test_rule_08_breaker import Stoppable

TYPED = {"overloaded", "unavailable", "policy_error", "segmenter_error", "shutting_down", "timeout"}
SETTINGS: dict[str, Any] = {
    "limits": {"inflight": 4, "queue": 4},
    "resilience": {"breaker": {"failures": 3, "cooldown": 0.05, "longest": 0.1}},
}


class World:
    """Clients who keep asking, and what they were told."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.is_over = False
        self.ends: list[str] = []

    async def client(self, number: int) -> None:
        while not self.is_over:
            answer = await self.stage.post(stream=bool(number % 2))
            self.ends.append(self.end_of(answer))
            await asyncio.sleep(0.02)

    def end_of(self, answer: httpx.Response) -> str:
        """A status, or an error's code. Fails if an answer has no proper end."""
        if answer.headers["content-type"].startswith("text/event-stream"):
            last = events_of(answer.text)[-1]
            assert last.name in ("final", "error"), "a stream without its end"
            return str(last.data["status"] if last.name == "final" else last.data["code"])
        document = answer.json()
        return str(document["code"] if "code" in document else document["status"])

    async def until_served(self) -> None:
        """Until somebody is served again."""
        seen = len(self.ends)
        async with asyncio.timeout(60):
            while "segmented" not in self.ends[seen:]:
                await asyncio.sleep(0.02)


async def test_each_part_in_turn_under_load() -> None:
    policy, segmenter = Stoppable([SEGMENT, FINISH], delay=0.01), TwoReplicas()
    async with on_air(Cast(policy=policy, segmenter=segmenter, settings=SETTINGS)) as stage:
        world = World(stage)
        clients = [asyncio.create_task(world.client(number)) for number in range(4)]
        for _ in range(2):
            await world.until_served()
            policy.healthy = False  # the engine goes
            await asyncio.sleep(0.3)
            policy.healthy = True
            await world.until_served()  # and is found again, unaided
            segmenter.calls += 40  # a replica dies
            await world.until_served()
        stage.house.close(grace=0.05)  # the service itself is told to go
        await asyncio.sleep(0.3)
        world.is_over = True
        await asyncio.gather(*clients)
        await stage.quiet()
        assert stage.house.gate.running == stage.house.gate.waiting == 0
        assert stage.metric("inflight") == stage.metric("queue_depth") == 0
    errors = {end for end in world.ends if end not in ("segmented", "incomplete")}
    assert errors <= TYPED, errors
    assert {"policy_error", "shutting_down"} <= errors
