"""Bad input of every kind: a 4xx problem that says what to do, and nothing left held."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from tests.api.stage import PNG, Cast, Stage, on_stage

IMAGE = base64.b64encode(PNG).decode()


async def refused(stage: Stage, status: int, code: str, **request: Any) -> str:
    """Send it, check that it is refused as it should be, and return the detail."""
    response = await stage.client.post("/v1/segment", **request)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert set(problem) >= {"type", "title", "status", "detail", "code", "request_id", "retryable"}
    assert (problem["status"], problem["code"], problem["retryable"]) == (status, code, False)
    assert problem["type"] == f"urn:rsagent:problem:{code}"
    assert problem["request_id"] == response.headers["x-request-id"]
    assert stage.house.gate.running == 0
    assert stage.policy.started == 0
    return str(problem["detail"])


OPTIONS: list[tuple[dict[str, str], str]] = [
    ({"max_turns": "0"}, "max_turns: Input should be greater than or equal to 1"),
    ({"max_turns": "17"}, "max_turns: at most 16 are granted"),
    ({"max_turns": "many"}, "max_turns: Input should be a valid integer"),
    ({"deadline_ms": "0"}, "deadline_ms: Input should be greater than or equal to 1"),
    ({"deadline_ms": "300001"}, "deadline_ms: at most 300000 are granted"),
    ({"mask_format": "svg"}, "mask_format: Input should be 'coco_rle', 'png' or 'polygon'"),
    ({"include": "turns,everything"}, "include.1: Input should be 'turns', 'thoughts' or 'overlays'"),
    ({"seed": "-1"}, "seed: Input should be greater than or equal to 0"),
    ({"temperature": "nan"}, "temperature: Input should be a finite number"),
    ({"temperature": "3"}, "temperature: Input should be less than or equal to 2"),
    ({"max_turn": "3"}, "max_turn is unknown; known here: mask_format, max_turns"),
    ({"options": "{}", "seed": "1"}, "not both"),
    ({"options": '{"seed": "1"}'}, "seed: Input should be a valid integer"),
]


@pytest.mark.parametrize(("fields", "words"), OPTIONS)
async def test_options_are_strict(fields: dict[str, str], words: str) -> None:
    async with on_stage() as stage:
        form = {"data": {"query": "x", **fields}, "files": {"image": PNG}}
        assert words in await refused(stage, 422, "bad_query", **form)


BODIES: list[tuple[Any, int, str, str]] = [
    ({"query": "x"}, 422, "bad_query", "image is missing"),
    ({"image": IMAGE}, 422, "bad_query", "query is missing"),
    (
        {"image": IMAGE, "query": "x", "max_turns": 3},
        422,
        "bad_query",
        "max_turns is unknown; known here: image, query",
    ),
    (
        {"image": IMAGE, "query": "x", "options": {"turns": 3}},
        422,
        "bad_query",
        "options.turns is unknown; known here: mas",
    ),
    (
        {"image": IMAGE, "query": "x", "options": {"max_turns": "3"}},
        422,
        "bad_query",
        "options.max_turns: Input should be",
    ),
    ({"image": IMAGE, "query": "x", "options": None}, 422, "bad_query", "options: "),
    ({"image": 5, "query": "x"}, 422, "bad_query", "image: Input should be a valid string"),
    ({"image": IMAGE, "query": ["x"]}, 422, "bad_query", "query: Input should be a valid string"),
    ({"image": IMAGE, "query": " \n\t "}, 422, "bad_query", "the query is empty"),
    ({"image": IMAGE, "query": "x" * 1001}, 422, "bad_query", "1001 characters; at most 1000"),
    ({"image": IMAGE, "query": "a\0b"}, 422, "bad_query", "control characters"),
    ([], 422, "bad_query", "the body: Input should be an object"),
    ("text", 422, "bad_query", "the body: Input should be an object"),
    ({"image": "", "query": "x"}, 400, "bad_image", "the image is empty"),
    ({"image": "%%%", "query": "x"}, 400, "bad_image", "no valid base64"),
    ({"image": "é", "query": "x"}, 400, "bad_image", "no valid base64"),
    ({"image": "http://127.0.0.1/x.png", "query": "x"}, 400, "bad_image_url", "addresses are not fetched"),
    ({"image": "data:image/png,xyz", "query": "x"}, 400, "bad_image", "must be base64"),
    ({"image": base64.b64encode(PNG[:60]).decode(), "query": "x"}, 400, "bad_image", "damaged or cut short"),
    ({"image": base64.b64encode(b"GIF89a").decode(), "query": "x"}, 415, "unsupported_format", "GIF is not supported"),
]


@pytest.mark.parametrize(("body", "status", "code", "words"), BODIES)
async def test_json_is_strict(body: Any, status: int, code: str, words: str) -> None:
    async with on_stage() as stage:
        assert words in await refused(stage, status, code, json=body)


NOT_JSON = [
    b"",
    b"{",
    b"\xff\xfe",
    b'{"image": "\\ud800", "query": "x"}',
    b'{"image": 1e999999}' * 2,
    b"[" * 100_000,
    b'{"a":' * 100_000,
]


@pytest.mark.parametrize("body", NOT_JSON)
async def test_what_is_no_json_is_refused(body: bytes) -> None:
    async with on_stage() as stage:
        request = {"content": body, "headers": {"Content-Type": "application/json"}}
        assert "no JSON" in await refused(stage, 400, "bad_request", **request)


def form(*parts: bytes, end: bytes = b"--B--\r\n") -> dict[str, Any]:
    body = b"".join(b"--B\r\n" + part + b"\r\n" for part in parts) + end
    return {"content": body, "headers": {"Content-Type": "multipart/form-data; boundary=B"}}


def part(name: str, value: bytes) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value


FORMS: list[tuple[dict[str, Any], int, str, str]] = [
    (form(part("query", b"x")), 422, "bad_query", "image is missing"),
    (form(part("image", PNG)), 422, "bad_query", "query is missing"),
    (form(part("image", PNG), part("image", PNG), part("query", b"x")), 422, "bad_query", "image is there 2 times"),
    (form(part("image", PNG), part("query", b"\xff")), 400, "bad_request", "query is no UTF-8 text"),
    (form(part("image", b""), part("query", b"x")), 400, "bad_image", "empty"),
    (form(part("image", PNG), part("query", b"x"), end=b""), 400, "bad_request", "cut short"),
    (form(b"X: y\r\n\r\nz"), 400, "bad_request", "has no name"),
    (form(b"no header"), 400, "bad_request", "cannot be read"),
    (form(*[part("a", b"")] * 40), 400, "bad_request", "more than 32 fields"),
    ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "bad_request", "no boundary"),
    (
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=" + "b" * 500}},
        400,
        "bad_request",
        "cannot be read",
    ),
]


@pytest.mark.parametrize(("request_", "status", "code", "words"), FORMS)
async def test_forms_are_strict(request_: dict[str, Any], status: int, code: str, words: str) -> None:
    async with on_stage() as stage:
        assert words in await refused(stage, status, code, **request_)


@pytest.mark.parametrize("kind", ["", "text/plain", "image/png", "application/x-www-form-urlencoded", "a" * 5000])
async def test_other_media_types_are_refused(kind: str) -> None:
    async with on_stage() as stage:
        request = {"content": b"x", "headers": {"Content-Type": kind} if kind else {}}
        assert "multipart/form-data" in await refused(stage, 415, "unsupported_format", **request)


async def test_compressed_bodies_are_refused() -> None:
    async with on_stage() as stage:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        words = await refused(stage, 415, "unsupported_format", content=b"x", headers=headers)
    assert "Content-Encoding" in words


async def test_options_in_the_address_are_not_overlooked() -> None:
    async with on_stage() as stage:
        request = {"data": {"query": "x"}, "files": {"image": PNG}, "params": {"mask_format": "png"}}
        assert "into the body" in await refused(stage, 422, "bad_query", **request)


async def test_too_many_pixels() -> None:
    cast = Cast(settings={"limits": {"image": {"max_pixels": 2399}}})
    async with on_stage(cast) as stage:
        form_ = {"data": {"query": "x"}, "files": {"image": PNG}}
        assert "60 × 40 pixels; at most 2,399" in await refused(stage, 413, "too_large", **form_)


async def test_too_many_bytes_in_the_picture() -> None:
    cast = Cast(settings={"limits": {"image": {"max_bytes": 100}}})
    async with on_stage(cast) as stage:
        form_ = {"data": {"query": "x"}, "files": {"image": PNG}}
        assert "at most 100" in await refused(stage, 413, "too_large", **form_)


@pytest.mark.parametrize(("method", "path", "status", "code"), [
    ("GET", "/v1/segment", 405, "method_not_allowed"),
    ("POST", "/livez", 405, "method_not_allowed"),
    ("GET", "/nothing", 404, "not_found"),
    ("POST", "/v1/segment/", 404, "not_found"),
    ("GET", "/v1/examples/..%2fapp.py", 404, "not_found"),
    ("GET", "/v1/examples/none.jpg", 404, "not_found"),
    ("BREW", "/v1/segment", 405, "method_not_allowed"),
])  # fmt: skip
async def test_wrong_addresses_are_problems_too(method: str, path: str, status: int, code: str) -> None:
    async with on_stage() as stage:
        response = await stage.client.request(method, path)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("given", "kept"), [("my-id.7:x_", True), ("a" * 64, True), ("a" * 65, False), ("a\tb", False)]
)
async def test_a_plain_request_id_is_kept(given: str, kept: bool) -> None:
    async with on_stage() as stage:
        response = await stage.client.get("/livez", headers={"X-Request-ID": given})
    assert (response.headers["x-request-id"] == given) is kept


async def test_no_problem_shows_the_body_again() -> None:
    async with on_stage() as stage:
        body = json.dumps({"image": "secret" * 1000, "query": {"secret": 1}})
        detail = await refused(
            stage, 422, "bad_query", content=body, headers={"Content-Type": "application/json; charset=utf-8"}
        )
    assert "secret" not in detail
