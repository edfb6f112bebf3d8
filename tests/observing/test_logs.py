from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from tests.api.stage import on_stage

from rsagent.api.keys import hash_key, new_key
from rsagent.observing import logs
from rsagent.observing.settings import LogSettings

log = logging.getLogger("rsagent.test")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("rsagent")
    before = root.handlers, root.level, ours.level
    yield
    root.handlers, root.level, ours.level = before


def written(format_: str, message: str, **told: object) -> str:
    stream = io.StringIO()
    logs.configure(LogSettings(format=format_, level="info"), stream)
    log.info(message, extra={"told": told})
    return stream.getvalue()


SECRETS = [
    "Authorization: Bearer abc.def-123",
    "authorization: basic dXNlcjpwYXNz",
    "x-api-key: s3cret-value",
    "{'api_key': 's3cret-value'}",
    "API_KEY=s3cret-value",
    "https://user:hunter2@host/path",
    "the key " + new_key(),
]


@pytest.mark.parametrize("text", SECRETS)
@pytest.mark.parametrize("format_", ["text", "json"])
def test_no_secret_is_written(text: str, format_: str) -> None:
    line = written(format_, "it said %s" % text, more=text)  # noqa: UP031  as other libraries do
    assert logs.BLOT in line
    for secret in ("abc.def-123", "dXNlcjpwYXNz", "s3cret-value", "hunter2", "rsa_"):
        assert secret not in line


def test_ordinary_words_pass() -> None:
    assert logs.redact("the bearer of http://host:80/path has 3 keys") != ""
    assert logs.redact("no connection to http://127.0.0.1:8001/v1") == "no connection to http://127.0.0.1:8001/v1"


def test_json_is_an_object_a_line_with_the_requests_id() -> None:
    token = logs.request_id.set("my-id")
    try:
        line = written("json", "two\nlines", outcome="segmented", ms=12)
    finally:
        logs.request_id.reset(token)
    assert line.count("\n") == 1
    told = json.loads(line)
    assert told.items() >= {"request_id": "my-id", "message": "two\nlines", "outcome": "segmented", "ms": 12}.items()
    assert told["level"] == "info"


def test_a_message_cannot_forge_a_line() -> None:
    assert written("text", "one\n2026-01-01 ERROR forged").count("\n") == 1


def test_an_exception_is_written_without_its_secret() -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(format="json"), stream)
    try:
        raise ValueError("x-api-key: s3cret-value")
    except ValueError:
        log.exception("failed")
    assert "ValueError" in stream.getvalue()
    assert "s3cret" not in stream.getvalue()


async def test_a_request_is_a_line_that_holds_nothing_of_what_was_sent() -> None:
    key, stream = new_key(), io.StringIO()
    logs.configure(LogSettings(format="json", level="info"), stream)
    from tests.api.stage import Cast

    async with on_stage(Cast(settings={"keys": {"hashes": {"alice": hash_key(key)}}})) as stage:
        stage.client.headers["Authorization"] = f"Bearer {key}"
        answer = await stage.post("my private sentence")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    (line,) = [line for line in lines if line["logger"] == "rsagent.requests"]
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line.items() >= {"path": "/v1/segment", "outcome": "segmented", "key": "alice"}.items()
    assert key not in stream.getvalue()
    assert "private" not in stream.getvalue()
