"""Rule 12: image addresses are off, and where they are on nobody turns the fetcher inward."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.api.stage import FINISH, PNG, SEGMENT, Cast, Stage, on_stage
from tests.api.test_fetch import PUBLIC, Web

from rsagent.api import fetch
from rsagent.api.fetch import Fetcher
from rsagent.api.settings import FetchSettings
from rsagent.policy.fake import ScriptedPolicy

INWARD = [
    "https://169.254.169.254/latest/meta-data/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://127.1/",
    "https://0/",
    "https://localhost/",
    "https://[::1]/",
    "https://10.0.0.1/",
    "https://[64:ff9b::a9fe:a9fe]/",
]


def on(stage: Stage, web: Web | None = None) -> None:
    """Turn fetching on, in a pretended internet if there is one."""

    def dial(request: httpx.Request) -> httpx.Response:
        assert web is not None, "it was dialled"
        web.dialled.append(request)
        return web._answer(request)

    fetcher = Fetcher(
        FetchSettings(enabled=True, timeout=5), 10_000, web.resolve if web else fetch.resolve, httpx.MockTransport(dial)
    )
    stage.app.state.house = replace(stage.house, fetcher=fetcher)


async def ask(stage: Stage, url: str) -> httpx.Response:
    return await stage.client.post("/v1/segment", json={"image": url, "query": "x"})


async def test_off_by_default() -> None:
    async with on_stage() as stage:
        answer = await ask(stage, f"https://{PUBLIC}/cat.png")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_image_url")


@pytest.mark.parametrize("url", INWARD)
async def test_every_way_inward_is_blocked_by_the_real_resolver(url: str) -> None:
    async with on_stage() as stage:
        on(stage)
        answer = await ask(stage, url)
        assert stage.policy.started == 0
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_image_url")
    assert answer.json()["detail"] == fetch.REFUSAL, "the same words whatever it was"


async def test_a_redirect_inward_is_blocked() -> None:
    web = Web(
        lambda request: httpx.Response(302, headers={"location": "https://inside.example/"}),
        a_example=[PUBLIC],
        inside_example=["169.254.169.254"],
    )
    async with on_stage() as stage:
        on(stage, web)
        answer = await ask(stage, "https://a.example/cat.png")
    assert answer.json()["code"] == "bad_image_url"
    assert [request.url.host for request in web.dialled] == [PUBLIC]


async def test_a_name_with_one_address_inside_is_blocked() -> None:
    web = Web(a_example=[PUBLIC, "127.0.0.1"])
    async with on_stage() as stage:
        on(stage, web)
        assert (await ask(stage, "https://a.example/cat.png")).status_code == 400
    assert web.dialled == []


async def test_a_name_that_is_bound_anew_gains_nothing() -> None:
    """The second answer of the resolver is 127.0.0.1: it is never asked for, and never dialled."""
    web = Web(lambda request: httpx.Response(200, content=PNG), a_example=[PUBLIC])
    plain = web.resolve

    async def rebinding(host: str) -> Any:
        found = await plain(host)
        web.names["a.example"] = ["127.0.0.1"]
        return found

    web.resolve = rebinding  # type: ignore[method-assign]
    async with on_stage() as stage:
        on(stage, web)
        answer = await ask(stage, "https://a.example/cat.png")
    assert answer.json()["status"] == "segmented"
    assert [request.url.host for request in web.dialled] == [PUBLIC]
    assert web.resolved == ["a.example"]


async def test_a_server_that_never_ends_is_cut_in_bytes_and_in_time() -> None:
    async def endless() -> Any:
        while True:
            await asyncio.sleep(0)
            yield bytes(1000)

    web = Web(lambda request: httpx.Response(200, content=endless()), a_example=[PUBLIC])
    async with on_stage() as stage:
        on(stage, web)
        assert (await ask(stage, "https://a.example/cat.png")).json()["code"] == "too_large"


async def test_a_form_may_name_an_address_too() -> None:
    web = Web(lambda request: httpx.Response(200, content=PNG), a_example=[PUBLIC])
    async with on_stage(Cast(policy=ScriptedPolicy([SEGMENT, FINISH]))) as stage:
        on(stage, web)
        form = {"query": "x", "image": "https://a.example/cat.png"}
        files = [(name, (None, value)) for name, value in form.items()]
        answer = await stage.client.post("/v1/segment", files=files)
    assert answer.json()["image"] == {"width": 60, "height": 40}


async def test_a_picture_that_does_not_come_keeps_the_requests_deadline() -> None:
    async def endless() -> Any:
        while True:
            await asyncio.sleep(0.01)
            yield b"."

    web = Web(lambda request: httpx.Response(200, content=endless()), a_example=[PUBLIC])
    async with on_stage() as stage:
        on(stage, web)
        request = {"image": "https://a.example/cat.png", "query": "x", "options": {"deadline_ms": 100}}
        answer = await stage.client.post("/v1/segment", json=request)
    assert (answer.status_code, answer.json()["code"]) == (504, "timeout")
