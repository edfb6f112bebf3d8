"""Rule 18: keys are kept as hashes; each has its rate, its share and its turn: a noisy one keeps no other waiting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.api.stage import FINISH, SEGMENT, Cast, Stage, on_stage

from rsagent.api.gate import Gate, Permit
from rsagent.api.keys import Tenant, hash_key
from rsagent.errors import Overloaded
from rsagent.metrics import Metrics
from rsagent.policy.fake import ScriptedPolicy
from rsagent.settings import Limits, Settings

NOISY, QUIET = "noisy-" + "n" * 30, "quiet-" + "q" * 30
HASHES = {"noisy": hash_key(NOISY), "quiet": hash_key(QUIET)}


def settings(**keys: Any) -> dict[str, Any]:
    return {"keys": {"hashes": HASHES, **keys}, "limits": {"inflight": 4, "queue": 8}}


async def post(stage: Stage, key: str | None) -> int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    files = {"image": ("p", (await stage.client.get("/v1/examples/01.jpg")).content)}
    return (await stage.client.post("/v1/segment", data={"query": "x"}, files=files, headers=headers)).status_code


@pytest.mark.parametrize("key", [None, "wrong", HASHES["quiet"]])
async def test_without_a_known_key_nothing_is_read(key: str | None) -> None:
    async with on_stage(Cast(settings=settings())) as stage:
        headers = {"X-API-Key": key} if key else {}
        refused = await stage.client.post("/v1/segment", headers=headers, content=b"")
        assert stage.metric("requests_total", outcome="unauthorized") == 1
        for path in ("/livez", "/readyz", "/docs", "/v1/examples"):
            assert (await stage.client.get(path)).status_code == 200, "what everybody may see"
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    assert refused.headers["www-authenticate"] == "Bearer"


async def test_what_is_below_the_address_needs_a_key_too() -> None:
    async with on_stage(Cast(settings=settings())) as stage:
        assert (await stage.client.post("/v1/segment/batch")).status_code == 401


async def test_hashes_are_all_that_is_kept() -> None:
    kept = repr(Settings(**settings()))
    assert NOISY not in kept
    assert HASHES["noisy"] in kept


async def test_the_quiet_one_finds_a_place_beside_the_noisy_one_at_ten_times_its_share() -> None:
    policy = ScriptedPolicy([SEGMENT, FINISH], delay=0.3)
    async with on_stage(Cast(policy=policy, settings=settings())) as stage:
        gate = stage.house.gate
        crowd = [asyncio.create_task(post(stage, NOISY)) for _ in range(40)]
        async with asyncio.timeout(10):
            while gate.running < 2 or gate.waiting < 8:
                await asyncio.sleep(0.005)
        assert gate.running == 2, "half of the places, where there are several keys"
        assert [await post(stage, QUIET) for _ in range(3)] == [200] * 3
        await asyncio.gather(*crowd)


async def test_the_quiet_one_is_next_whatever_the_crowd() -> None:
    gate = Gate(Limits(inflight=1, queue=50), Metrics())
    noisy, quiet = Tenant("noisy"), Tenant("quiet")
    inside = await gate.enter(noisy)
    order: list[str] = []

    async def guest(tenant: Tenant) -> None:
        permit = await gate.enter(tenant)
        order.append(tenant.name)
        permit.release()

    crowd = [asyncio.create_task(guest(noisy)) for _ in range(40)]
    await asyncio.sleep(0)
    crowd.append(asyncio.create_task(guest(quiet)))
    await asyncio.sleep(0)
    inside.release()
    await asyncio.gather(*crowd)
    assert order.index("quiet") <= 1


async def test_a_full_queue_of_one_key_gives_way_to_another() -> None:
    gate = Gate(Limits(inflight=1, queue=3), Metrics())
    inside = await gate.enter(Tenant("noisy"))
    crowd = [asyncio.create_task(gate.enter(Tenant("noisy"))) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await gate.enter(Tenant("noisy"))
    quiet = asyncio.create_task(gate.enter(Tenant("quiet")))
    await asyncio.sleep(0.01)
    with pytest.raises(Overloaded):
        await crowd[2]
    inside.release()
    waiting: set[asyncio.Task[Permit]] = {quiet, crowd[0], crowd[1]}
    let_in = []
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            let_in.append(task)
            task.result().release()
    assert let_in.index(quiet) <= 1
    assert (gate.running, gate.waiting) == (0, 0)


async def test_a_rate_is_told_with_the_time_to_wait() -> None:
    async with on_stage(Cast(settings=settings(rate=0.5))) as stage:
        first, second, other = await post(stage, NOISY), await post(stage, NOISY), await post(stage, QUIET)
        assert stage.metric("requests_total", outcome="rate_limited") == 1
    assert (first, second, other) == (200, 429, 200)
