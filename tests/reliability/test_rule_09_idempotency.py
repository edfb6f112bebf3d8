"""Rule 9: Idempotency-Key: the same request runs once; another one under the same key is refused."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tests.api.stage import FINISH, PNG, SEGMENT, Cast, Stage, events_of, on_air, on_stage, picture

from rsagent import imaging
from rsagent.api import bodies
from rsagent.api.keys import hash_key
from rsagent.errors import PolicyError
from rsagent.policy.fake import ScriptedPolicy

SLOW = 0.05


async def post(stage: Stage, key: str = "k", *, stream: bool = False, **more: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key, **({"Accept": "text/event-stream"} if stream else {}), **more.pop("headers", {})}
    data = {"query": more.pop("query", "the box"), **more}
    return await stage.client.post("/v1/segment", headers=headers, data=data, files={"image": ("p", PNG)})


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


def slow() -> ScriptedPolicy:
    return ScriptedPolicy([SEGMENT, FINISH], delay=SLOW)


@pytest.mark.parametrize("first_streams", [True, False])
@pytest.mark.parametrize("second_streams", [True, False])
async def test_two_at_once_are_one_episode(first_streams: bool, second_streams: bool) -> None:
    async with on_stage(Cast(policy=slow())) as stage:
        first, second = await asyncio.gather(post(stage, stream=first_streams), post(stage, stream=second_streams))
        assert stage.policy.started == 2, "one episode of two turns"
        await stage.quiet()
        assert stage.metric("stop_total", reason="finished") == 1
    documents = [
        events_of(answer.text)[-1].data if streams else answer.json()
        for answer, streams in ((first, first_streams), (second, second_streams))
    ]
    for document in documents:
        del document["timings_ms"]["total"]  # the moment of telling
    assert documents[0] == documents[1]
    replayed = [answer.headers.get("idempotent-replayed") for answer in (first, second)]
    assert sorted(replayed, key=str) == [None, "true"], "whichever came first, the other is its replay"
    if first_streams and second_streams:
        assert first.text == second.text


async def test_a_later_one_hears_the_same_again() -> None:
    async with on_stage() as stage:
        first, again = await post(stage), await post(stage)
        assert again.content == first.content
        assert stage.policy.started == 2
        assert (await post(stage, "other")).json()["id"] != first.json()["id"]


@pytest.mark.parametrize("other", [{"query": "the cup"}, {"max_turns": "3"}])
async def test_another_request_under_the_same_key_is_a_conflict(other: dict[str, Any]) -> None:
    async with on_stage() as stage:
        await post(stage)
        refused = await post(stage, **other)
        assert stage.house.gate.running == 0
    assert (refused.status_code, refused.json()["code"], refused.json()["retryable"]) == (409, "conflict", False)


async def test_another_picture_under_the_same_key_is_a_conflict() -> None:
    async with on_stage() as stage:
        await post(stage)
        files = {"image": imaging.encode_png(picture()[::-1])}
        refused = await stage.client.post(
            "/v1/segment", headers={"Idempotency-Key": "k"}, data={"query": "the box"}, files=files
        )
    assert refused.status_code == 409


async def test_a_failure_may_be_tried_again() -> None:
    policy = slow()
    policy.failure = PolicyError("gone")
    async with on_stage(Cast(policy=policy)) as stage:
        assert (await post(stage)).json()["code"] == "policy_error"
        policy.failure = None
        assert (await post(stage)).json()["status"] == "segmented"


async def test_the_keys_of_tenants_do_not_meet() -> None:
    hashes = {"alice": hash_key("a" * 20), "bob": hash_key("b" * 20)}
    async with on_stage(Cast(settings={"keys": {"hashes": hashes}})) as stage:
        first = await post(stage, headers={"X-API-Key": "a" * 20})
        second = await post(stage, headers={"X-API-Key": "b" * 20}, query="something else")
    assert (first.status_code, second.status_code) == (200, 200)


async def test_a_broken_stream_goes_on_after_its_last_event() -> None:
    policy = ScriptedPolicy([SEGMENT, FINISH], piece=8, piece_delay=0.02)
    async with on_air(Cast(policy=policy)) as stage:
        headers = {"Idempotency-Key": "k", "Accept": "text/event-stream"}
        form: Any = {"data": {"query": "the box"}, "files": {"image": ("p", PNG)}}
        heard = ""
        async with stage.client.stream("POST", "/v1/segment", headers=headers, **form) as response:
            async for text in response.aiter_text():
                heard += text
                if "event: thought" in heard:
                    break  # the line is lost here
        heard = heard[: heard.rindex("\n\n") + 2]
        last = events_of(heard)[-1].id
        rest = await post(stage, stream=True, headers={"Last-Event-ID": str(last)})
        whole = await post(stage, stream=True)
        assert policy.started == 2
    assert heard + rest.text == whole.text
    assert [event.id for event in events_of(whole.text)] == list(range(1, len(events_of(whole.text)) + 1))


@pytest.mark.parametrize(
    "headers",
    [{"Idempotency-Key": "k" * 256}, {"Idempotency-Key": "a b"}, {"Idempotency-Key": "k", "Last-Event-ID": "x"}],
)
async def test_headers_that_make_no_sense_are_refused(headers: dict[str, str]) -> None:
    async with on_stage() as stage:
        refused = await post(stage, headers=headers)
        assert stage.house.gate.running == stage.policy.started == 0
    assert (refused.status_code, refused.json()["code"]) == (422, "bad_query")


async def test_listening_takes_no_place() -> None:
    settings = {"limits": {"inflight": 2, "queue": 0}}
    async with on_stage(Cast(policy=ScriptedPolicy([SEGMENT, FINISH], delay=1.0), settings=settings)) as stage:
        gate, name = stage.house.gate, ("", "k")
        first = asyncio.create_task(post(stage))
        await until(lambda: len(stage.house.ledger) == 1)
        recording = stage.house.ledger[name]
        second = asyncio.create_task(post(stage))
        await until(lambda: recording.listeners == 2)
        assert gate.running == 1
        assert (await stage.post()).status_code == 200
        assert {answer.status_code for answer in await asyncio.gather(first, second)} == {200}


@pytest.mark.parametrize("stream", [False, True])
async def test_who_only_listens_holds_no_picture(monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    decoded: list[weakref.ref[Any]] = []
    parse = bodies.parse

    def noted(*given: Any) -> Any:
        found = parse(*given)
        assert isinstance(found, bodies.Call)
        decoded.append(weakref.ref(found.image))
        return found

    monkeypatch.setattr(bodies, "parse", noted)
    async with on_stage(Cast(policy=ScriptedPolicy([SEGMENT, FINISH], delay=1.0))) as stage:
        first = asyncio.create_task(post(stage))
        await until(lambda: len(stage.house.ledger) == 1)
        recording = stage.house.ledger["", "k"]
        others = [asyncio.create_task(post(stage, stream=stream)) for _ in range(3)]
        await until(lambda: recording.listeners == 4)
        gc.collect()
        assert [one() is not None for one in decoded] == [True, False, False, False]
        assert all(answer.status_code == 200 for answer in await asyncio.gather(first, *others))
