"""Rule 10: size is what was counted, not what was declared."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.stage import Cast, Stage, on_stage

from rsagent.api.bodies import SLACK

LIMIT = 1_000_000
CHUNK = 64 * 1024


async def feed(stage: Stage, *headers: tuple[bytes, bytes]) -> tuple[int, int]:
    """An endless body; the status it gets, and how many bytes of it were taken."""
    taken, status = 0, 0

    async def receive() -> Any:
        nonlocal taken
        taken += CHUNK
        return {"type": "http.request", "body": bytes(CHUNK), "more_body": True}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    kind = (b"content-type", b"multipart/form-data; boundary=B")
    scope = {
        "type": "http", "method": "POST", "path": "/v1/segment", "raw_path": b"/v1/segment", "query_string": b"",
        "headers": [kind, *headers], "http_version": "1.1", "scheme": "http", "root_path": "",
    }  # fmt: skip
    await stage.app(scope, receive, send)
    return status, taken


@pytest.mark.parametrize("length", [(), ((b"content-length", b"10"),), ((b"content-length", b"-1"),)])
async def test_an_endless_body_is_cut_at_the_limit_and_one_chunk(length: Any) -> None:
    async with on_stage(Cast(settings={"limits": {"image": {"max_bytes": LIMIT}}})) as stage:
        status, taken = await feed(stage, (b"transfer-encoding", b"chunked"), *length)
        assert stage.house.gate.running == 0
    assert status == 413
    assert taken <= LIMIT + SLACK + CHUNK


async def test_a_declared_length_over_the_limit_takes_nothing() -> None:
    async with on_stage(Cast(settings={"limits": {"image": {"max_bytes": LIMIT}}})) as stage:
        assert await feed(stage, (b"content-length", b"9" * 30)) == (413, 0)
