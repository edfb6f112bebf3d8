"""`POST /v1/segment/batch`: a row for every line, each line on its own, and everything bounded."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]  # brought by openapi-spec-validator, without types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.api.stage import FINISH, PNG, Cast, Stage, call, on_air, on_stage

from rsagent.masks import rle
from rsagent.policy.fake import ScriptedPolicy

IMAGE = base64.b64encode(PNG).decode()
HEADERS = {"Content-Type": "application/x-ndjson"}


def lines_of(*lines: Any) -> bytes:
    return b"".join((line.encode() if isinstance(line, str) else json.dumps(line).encode()) + b"\n" for line in lines)


def asked(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"id": f"n{n}", "image": IMAGE, "query": f"box {n}", **more} for n in range(1, count + 1)]


def numbered() -> ScriptedPolicy:
    def reply(history: Any) -> str:
        if any(message.role == "assistant" for message in history):
            return FINISH
        number = int(re.search(r"box (\d+)", history[1].text).group(1))  # type: ignore[union-attr]
        return call("segment", bbox_2d=[0, 0, 16 * number, 999])

    return ScriptedPolicy(reply)


async def post(stage: Stage, body: bytes, **headers: str) -> httpx.Response:
    return await stage.client.post("/v1/segment/batch", content=body, headers={**HEADERS, **headers})


def rows_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


async def test_every_line_gets_its_own_row() -> None:
    async with on_stage(Cast(policy=numbered())) as stage:
        rows = rows_of(await post(stage, lines_of(*asked(40))))
        await stage.quiet()
        assert stage.metric("requests_total", outcome="segmented") == 40
    assert sorted(row["index"] for row in rows) == list(range(40))
    for row in rows:
        assert row["id"] == f"n{row['index'] + 1}"
        (found,) = row["answer"]["objects"]
        width = rle.decode(found["mask"]["counts"], 40, 60).any(axis=0).sum()
        assert width == round(16 * (row["index"] + 1) / 999 * 60)
    assert len({row["answer"]["id"] for row in rows}) == 40


async def test_a_wrong_line_is_an_error_in_its_row_and_nowhere_else() -> None:
    empty, unknown = {"id": "q", "image": IMAGE, "query": " "}, {"id": 7, "image": "!", "query": "x"}
    greedy = {"image": IMAGE, "query": "x", "options": {"max_turns": 99}}
    lines = [asked(1)[0], "no json", unknown, empty, "[]", greedy]
    async with on_stage(Cast(policy=numbered())) as stage:
        rows = rows_of(await post(stage, lines_of(*lines) + b"\n\n"))
        await stage.quiet()
    told = {row["index"]: (row["id"], row.get("error", {}).get("code")) for row in rows}
    assert told == {
        0: ("n1", None), 1: (None, "bad_request"), 2: (7, "bad_image"), 3: ("q", "bad_query"), 4: (None, "bad_query"),
        5: (None, "bad_query"),
    }  # fmt: skip


async def test_rows_fit_what_is_described() -> None:
    async with on_stage(Cast(policy=numbered())) as stage:
        document = (await stage.client.get("/openapi.json")).json()
        rows = rows_of(await post(stage, lines_of(*asked(1), "no json")))
    described = document["paths"]["/v1/segment/batch"]["post"]
    schema = {**document, "$ref": "#/components/schemas/BatchRow"}
    for row in [*rows, described["responses"]["200"]["content"]["application/x-ndjson"]["example"]]:
        jsonschema.validate(row, schema)
    given = described["requestBody"]["content"]["application/x-ndjson"]["example"]
    jsonschema.validate(given, {**document, "$ref": "#/components/schemas/BatchItem"})


@pytest.mark.parametrize(
    ("body", "headers", "limits", "status"),
    [
        (b"", {}, {}, 422),
        (b"\n \n", {}, {}, 422),
        (lines_of(*asked(3)), {}, {"items": 2}, 413),
        (lines_of(*asked(3)), {}, {"max_bytes": 100}, 413),
        (lines_of(*asked(1)), {"Content-Type": "application/json"}, {}, 415),
        (lines_of(*asked(1)), {"Content-Encoding": "gzip"}, {}, 415),
    ],
)
async def test_what_is_no_batch_is_refused(body: bytes, headers: dict[str, str], limits: Any, status: int) -> None:
    async with on_stage(Cast(settings={"limits": {"batch": limits}})) as stage:
        for _ in range(3):
            refused = await post(stage, body, **headers)
            assert refused.status_code == status, "a refused batch gives its place back"
    assert refused.headers["content-type"] == "application/problem+json"


async def test_batches_are_bounded_and_leave_room_for_others() -> None:
    limits = {"inflight": 3, "queue": 2, "batch": {"at_once": 1, "share": 2}}
    policy = ScriptedPolicy(numbered()._script, delay=0.05)
    async with on_air(Cast(policy=policy, settings={"limits": limits})) as stage:
        first = asyncio.create_task(post(stage, lines_of(*asked(8))))
        while not policy.running:
            await asyncio.sleep(0.005)
        second = await post(stage, lines_of(*asked(1)))
        assert second.status_code == 429
        assert second.headers["retry-after"]
        most = 0
        while not first.done():
            most = max(most, stage.house.gate.running)
            await asyncio.sleep(0.005)
        assert most <= 2
        assert len(rows_of(await first)) == 8
        assert (await post(stage, lines_of(*asked(1)))).status_code == 200


async def test_a_full_gate_is_waited_for() -> None:
    limits = {"inflight": 1, "queue": 0, "batch": {"share": 3}}
    policy = ScriptedPolicy(numbered()._script, delay=0.02)
    async with on_stage(Cast(policy=policy, settings={"limits": limits})) as stage:
        rows = rows_of(await post(stage, lines_of(*asked(3))))
        assert not any("error" in row for row in rows)
    limits = {"inflight": 1, "queue": 0, "batch": {"share": 3, "patience": 0.0}}
    async with on_stage(Cast(policy=policy, settings={"limits": limits})) as stage:
        rows = rows_of(await post(stage, lines_of(*asked(3))))
        codes = [row["error"]["code"] for row in rows if "error" in row]
        assert codes == ["overloaded"] * 2


async def test_hanging_up_ends_what_runs() -> None:
    async with on_air(Cast(policy=ScriptedPolicy([FINISH], delay=30))) as stage:
        with pytest.raises(httpx.ReadTimeout):
            await stage.client.post("/v1/segment/batch", content=lines_of(*asked(6)), headers=HEADERS, timeout=0.5)
        await stage.quiet()
        assert stage.policy.cancelled == stage.policy.started <= 4
        assert stage.app.state.batches.running == 0


async def test_a_service_that_shuts_down_says_so_in_the_rows_left() -> None:
    async with on_air(Cast(policy=ScriptedPolicy([FINISH], delay=30))) as stage:
        batch = asyncio.create_task(post(stage, lines_of(*asked(6))))
        while not stage.policy.running:
            await asyncio.sleep(0.01)
        stage.house.close(0.0)
        rows = rows_of(await batch)
    assert [row["error"]["code"] for row in rows] == ["shutting_down"] * 6


async def test_keys_are_asked_for_here_too() -> None:
    import hashlib

    hashes = {"me": hashlib.sha256(b"secret").hexdigest()}
    async with on_stage(Cast(policy=numbered(), settings={"keys": {"hashes": hashes}})) as stage:
        assert (await post(stage, lines_of(*asked(1)))).status_code == 401
        assert (await post(stage, lines_of(*asked(1)), Authorization="Bearer secret")).status_code == 200


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=40) | st.sampled_from([json.dumps(asked(1)[0]).encode()]), max_size=5))
def test_any_lines(lines: list[bytes]) -> None:
    async def send() -> httpx.Response:
        async with on_stage(Cast(policy=numbered())) as stage:
            response = await post(stage, b"\n".join(lines))
            await stage.quiet()
            return response

    response = asyncio.run(send())
    assert response.status_code in (200, 422)
    if response.status_code == 200:
        for line in response.text.splitlines():
            row = json.loads(line)
            assert ("answer" in row) != ("error" in row)
            assert row.get("error", {}).get("status", 400) < 500
