"""Arbitrary bodies: an answer or a 4xx problem, never a 5xx, and the permits come back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.api.stage import PNG, on_stage
from tests.api.test_bad_requests import IMAGE

# Pillow's words on broken metadata, which imaging itself silences
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(["mask_format", "max_turns", "deadline_ms", "include", "seed", "temperature"])
OPTIONS = st.dictionaries(NAMES | st.text(), JSON, max_size=4)
REQUESTS = st.fixed_dictionaries(
    {}, optional={"image": st.just(IMAGE) | JSON, "query": st.text() | JSON, "options": OPTIONS | JSON, "more": JSON}
)
HEADERS = st.sampled_from(
    ["application/json", "multipart/form-data; boundary=B", "multipart/form-data; boundary=", "text/plain", ""]
)


def play(scene: Coroutine[Any, Any, httpx.Response]) -> httpx.Response:
    return asyncio.run(scene)


async def send(**request: Any) -> httpx.Response:
    async with on_stage() as stage:
        response = await stage.client.post("/v1/segment", **request)
        assert stage.house.gate.running == 0
        return response


def check(response: httpx.Response) -> None:
    assert response.status_code < 500, response.text
    if response.status_code != 200:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["detail"]


@settings(max_examples=60, deadline=None)
@given(REQUESTS)
def test_any_json(body: dict[str, Any]) -> None:
    check(play(send(content=json.dumps(body), headers={"Content-Type": "application/json"})))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), HEADERS)
def test_any_bytes(body: bytes, kind: str) -> None:
    check(play(send(content=body, headers={"Content-Type": kind})))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES | st.text(max_size=8), st.text(max_size=8), max_size=3), st.text(min_size=1, max_size=12))
def test_any_form(fields: dict[str, str], query: str) -> None:
    check(play(send(data={"query": query, **fields}, files={"image": PNG})))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_to_a_good_form(data: st.DataObject) -> None:
    good = httpx.Request("POST", "http://x", data={"query": "x"}, files={"image": PNG})
    body = bytearray(good.read())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 12))] = data.draw(st.binary(max_size=6))
    check(play(send(content=bytes(body), headers={"Content-Type": good.headers["content-type"]})))


def test_the_stage_is_what_is_fuzzed() -> None:
    assert play(send(json={"image": IMAGE, "query": "x"})).status_code == 200
