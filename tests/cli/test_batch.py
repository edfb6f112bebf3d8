"""`rsagent batch`: every request gets its row, whatever happens on the way."""

from __future__ import annotations

import asyncio
import fcntl
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco
from tests.api.stage import FINISH, PNG, Cast, call, on_air
from typer.testing import CliRunner

from rsagent.api.requests import Options
from rsagent.cli import batch as command
from rsagent.cli import manifest
from rsagent.cli.app import app
from rsagent.cli.batch import Plan, batch, options_of
from rsagent.cli.rows import Rows
from rsagent.client import AsyncClient
from rsagent.client import retries as pauses
from rsagent.errors import RSAgentError
from rsagent.masks import rle
from rsagent.policy.fake import ScriptedPolicy

OPTIONS = options_of(None, None, None)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "FIRST", 0.001)


def write(path: Path, lines: Iterable[Any]) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "picture.png").write_bytes(PNG)
    return tmp_path


def asked(count: int) -> list[dict[str, Any]]:
    return [{"image": "picture.png", "query": f"box {number}"} for number in range(1, count + 1)]


def numbered_policy() -> ScriptedPolicy:
    """Boxes `box N` by N, so that each answer can be told from all others."""

    def reply(history: Any) -> str:
        if any(message.role == "assistant" for message in history):
            return FINISH
        number = int(re.search(r"box (\d+)", history[1].text).group(1))  # type: ignore[union-attr]
        return call("segment", bbox_2d=[0, 0, 16 * (number % 60 + 1), 999])

    return ScriptedPolicy(reply)


async def test_each_request_gets_its_own_answer(folder: Path) -> None:
    plan = Plan(write(folder / "in.jsonl", asked(120)), folder / "out" / "out.jsonl", coco=folder / "results.json")
    async with on_air(Cast(policy=numbered_policy())) as stage:
        errors = await batch(Plan(plan.manifest, plan.output, plan.coco, stage.url, concurrency=7), OPTIONS)
        assert stage.segmenter.calls == 120
    assert errors == 0
    rows = rows_of(plan.output)
    assert sorted(int(row["id"]) for row in rows) == list(range(1, 121))
    for row in rows:
        number = int(row["query"].split()[1])
        (found,) = row["answer"]["objects"]
        width = rle.decode(found["mask"]["counts"], 40, 60).any(axis=0).sum()
        assert width == round(16 * (number % 60 + 1) / 999 * 60), row["query"]
        assert row["answer"]["turns"] == []
    results = json.loads((folder / "results.json").read_text())
    assert [result["image_id"] for result in results] == list(range(1, 121)), "in the manifest's order"
    assert coco.area(results[0]["segmentation"]) == 40 * 2, "pycocotools reads it"
    assert results[0]["bbox"][:2] == [0, 0]


class Oracle:
    """A service of a few lines, fast enough for ten thousand: the mask's width says the request's number."""

    def __init__(self) -> None:
        self.asked = self.running = self.most = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/readyz":
            return httpx.Response(200)
        self.asked, self.running = self.asked + 1, self.running + 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        number = int(re.search(rb"box (\d+)", request.content).group(1))  # type: ignore[union-attr]
        mask = np.zeros((1, 10_000), dtype=np.bool_)
        mask[:, :number] = True
        told = {"format": "coco_rle", "size": [1, 10_000], "counts": rle.encode(mask)}
        objects = [{"mask_id": 1, "mask": told, "bbox": [0, 0, number, 1], "area": number, "score": 0.5}]
        self.running -= 1
        return httpx.Response(200, json=DOCUMENT | {"objects": objects})


DOCUMENT = {
    "id": "r", "status": "segmented", "stop_reason": "finished", "image": {"width": 10_000, "height": 1}, "turns": [],
    "timings_ms": {"queue": 0, "policy": 0, "segmenter": 0, "render": 0, "total": 0},
    "usage": {"prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0, "turns": 1, "image_encodes": 1},
}  # fmt: skip


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> Oracle:
    found = Oracle()

    def client(url: str, **arguments: Any) -> AsyncClient:
        return AsyncClient(url, transport=httpx.MockTransport(found), **arguments)

    monkeypatch.setattr(command, "AsyncClient", client)
    return found


async def test_ten_thousand_do_not_collide(folder: Path, oracle: Oracle) -> None:
    out = folder / "out.jsonl"
    plan = Plan(write(folder / "in.jsonl", asked(10_000)), out, server="http://oracle", concurrency=32)
    assert await batch(plan, OPTIONS) == 0
    assert oracle.asked == 10_000
    assert oracle.most <= 32
    seen = set()
    with out.open() as lines:
        for line in lines:
            row = json.loads(line)
            assert row["query"] == f"box {row['id']}"
            assert row["answer"]["objects"][0]["area"] == int(row["id"])
            seen.add(row["id"])
    assert len(seen) == 10_000


async def test_a_killed_run_is_gone_on_with(folder: Path, oracle: Oracle) -> None:
    plan = Plan(write(folder / "in.jsonl", asked(50)), folder / "out.jsonl", server="http://oracle")
    await batch(plan, OPTIONS)
    lines = plan.output.read_bytes().splitlines(keepends=True)
    plan.output.write_bytes(b"".join(lines[:20]) + lines[20][:37])  # as a kill in the middle of a write leaves it
    oracle.asked = 0
    assert await batch(plan, OPTIONS) == 0
    assert oracle.asked == 30
    assert sorted(int(row["id"]) for row in rows_of(plan.output)) == list(range(1, 51))
    oracle.asked = 0
    await batch(plan, OPTIONS)
    assert oracle.asked == 0, "what is done is not asked again"


async def test_errors_are_rows_and_may_be_asked_again(folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"no picture")
    lines = [*asked(1), {"image": "broken.png", "query": "x"}, {"image": "nowhere.png", "query": "x"}]
    made, out = write(folder / "in.jsonl", lines), folder / "out.jsonl"
    async with on_air(Cast(policy=numbered_policy())) as stage:
        assert await batch(Plan(made, out, server=stage.url), OPTIONS) == 2
        told = {row["id"]: row.get("error", {}).get("code") for row in rows_of(out)}
        assert told == {"1": None, "2": "unsupported_format", "3": "unreadable_file"}
        (folder / "nowhere.png").write_bytes(PNG)
        write(made, [*lines[:2], {**lines[2]}])
        stage.policy._script = [call("segment", bbox_2d=[0, 0, 99, 99]), FINISH]
        assert await batch(Plan(made, out, server=stage.url), OPTIONS) == 2, "errors stay, unless asked"
        assert await batch(Plan(made, out, server=stage.url, again=True, coco=folder / "coco.json"), OPTIONS) == 1
    assert [row["id"] for row in rows_of(out)].count("3") == 2
    assert [result["image_id"] for result in json.loads((folder / "coco.json").read_text())] == [1, 3]


async def test_a_service_that_goes_away_keeps_what_was_answered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_so_far = 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal asked_so_far
        asked_so_far += request.url.path != "/readyz"
        if asked_so_far > 5:
            raise httpx.ConnectError("gone")
        return httpx.Response(200, json=DOCUMENT | {"objects": []})

    monkeypatch.setattr(command, "RETRIES", 1)
    monkeypatch.setattr(
        command, "AsyncClient", lambda url, **kw: AsyncClient(url, transport=httpx.MockTransport(handler), **kw)
    )
    plan = Plan(write(folder / "in.jsonl", asked(20)), folder / "out.jsonl", server="http://s", concurrency=2)
    with pytest.raises(RSAgentError, match="goes on from here"):
        await batch(plan, OPTIONS)
    assert len(rows_of(plan.output)) == 5


async def test_nobody_there_is_said_before_anything_is_asked(folder: Path) -> None:
    plan = Plan(write(folder / "in.jsonl", asked(2)), folder / "out.jsonl", server="http://127.0.0.1:9")
    with pytest.raises(RSAgentError, match="rsagent serve"):
        await batch(plan, OPTIONS)
    assert rows_of(plan.output) == []


async def test_answers_of_other_options_are_not_mixed(folder: Path, oracle: Oracle) -> None:
    made, out = write(folder / "in.jsonl", asked(2)), folder / "out.jsonl"
    await batch(Plan(made, out, server="http://oracle"), options_of(1, None, None))
    assert [row["asked"] for row in rows_of(out)] == [{"max_turns": 1}] * 2
    with pytest.raises(RSAgentError, match="asked with max_turns 1, not with max_turns 8, seed 3: give the same"):
        await batch(Plan(made, out, server="http://oracle"), options_of(8, None, 3))
    with pytest.raises(RSAgentError, match="not with the service's own options"):
        await batch(Plan(made, out, server="http://oracle"), OPTIONS)
    assert await batch(Plan(made, out, server="http://oracle"), options_of(1, 9.0, None)) == 0, "more time is no other"
    assert oracle.asked == 2


async def test_results_that_cannot_be_written_are_said_so(folder: Path, oracle: Oracle) -> None:
    plan = Plan(write(folder / "in.jsonl", asked(1)), folder / "out.jsonl", coco=folder, server="http://oracle")
    with pytest.raises(RSAgentError, match=r"cannot write .*the answers are kept"):
        await batch(plan, OPTIONS)
    assert len(rows_of(plan.output)) == 1


async def test_two_runs_do_not_write_to_one_file(folder: Path, oracle: Oracle) -> None:
    plan = Plan(write(folder / "in.jsonl", asked(2)), folder / "out.jsonl", server="http://oracle")
    with plan.output.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RSAgentError, match="another run"):
            await batch(plan, OPTIONS)


async def test_an_output_of_something_else_is_left_alone(folder: Path, oracle: Oracle) -> None:
    made, out = write(folder / "in.jsonl", asked(2)), folder / "out.jsonl"
    await batch(Plan(made, out, server="http://oracle"), OPTIONS)
    other = write(folder / "other.jsonl", [{"image": "picture.png", "query": "box 9"}])
    with pytest.raises(RSAgentError, match="another manifest"):
        await batch(Plan(other, out, server="http://oracle"), OPTIONS)
    before = other.read_bytes()
    with pytest.raises(RSAgentError, match="no file of answers"):
        await batch(Plan(made, other, server="http://oracle"), OPTIONS)
    assert other.read_bytes() == before
    with pytest.raises(RSAgentError, match="cannot write"):
        await batch(Plan(made, folder, server="http://oracle"), OPTIONS)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "holds no request"),
        (['{"image": "a.png"}'], "in.jsonl:1: query"),
        (["{}", "hm"], "in.jsonl:1"),
        ([{"image": "a", "query": "b"}, "hm"], "in.jsonl:2"),
        ([{"image": "a", "query": "b", "id": "x"}, {"image": "a", "query": "c", "id": "x"}], "lines 1 and 2"),
        ([{"image": "a", "query": "b", "id": 2}, {"image": "a", "query": "c"}], "lines 1 and 2"),
    ],
)
def test_a_manifest_that_cannot_be_read_names_its_line(folder: Path, lines: list[Any], words: str) -> None:
    with pytest.raises(RSAgentError, match=words):
        manifest.read(write(folder / "in.jsonl", lines))


def test_a_manifest_may_say_more_than_is_asked(folder: Path) -> None:
    lines = [
        {"image": "a", "query": "b", "truth": [1], "image_id": 7, "category_id": 3, "id": 12},
        "",
        {"image": "a", "query": "c"},
    ]
    items = manifest.read(write(folder / "in.jsonl", lines))
    assert [(item.id, item.image_id, item.category_id) for item in items] == [("12", 7, 3), ("3", 3, 1)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.text(max_size=9), st.booleans()), max_size=12), st.data())
def test_whatever_a_kill_leaves_is_taken_up(told: list[tuple[str, str, bool]], data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.jsonl"
        with Rows.open(path) as rows:
            for name, words, failed in told:
                item = manifest.Item(id=name, image="i", query="q")
                rows.add(item, {"error": {"detail": words}} if failed else {"answer": words})
        whole = path.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        kept = whole[:cut].count(b"\n")
        last = {name: (words, failed) for name, words, failed in told[:kept]}
        with Rows.open(path) as rows:
            assert rows.places.keys() == last.keys()
            assert rows.failed == sum(failed for _, failed in last.values())
            for name, (words, failed) in last.items():
                row = rows.row(manifest.Item(id=name, image="i", query="q"))
                assert (row["error"]["detail"] if failed else row["answer"]) == words
        assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[:kept])


def test_the_command_ends_by_what_came_out(folder: Path) -> None:
    async def scripted(lines: list[Any], name: str) -> tuple[int, str]:
        async with on_air(Cast(policy=numbered_policy())) as stage:
            arguments = ["batch", str(write(folder / f"{name}.jsonl", lines)), "-o", str(folder / f"{name}-out.jsonl")]
            result = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--server", stage.url])
            return result.exit_code, result.stderr

    code, said = asyncio.run(scripted(asked(3), "good"))
    assert code == 0, said
    assert "answered: 3, failed: 0" in said
    code, said = asyncio.run(scripted([{"image": "nowhere.png", "query": "x"}], "bad"))
    assert code == 1
    assert "answered: 0, failed: 1" in said


def test_a_key_comes_from_a_file(folder: Path) -> None:
    from rsagent.cli.segment import read_key

    (folder / "key").write_text("very-secret\n")
    assert read_key(folder / "key") == "very-secret"
    assert read_key(None) is None
    (folder / "key").write_text("two words")
    with pytest.raises(RSAgentError, match="no API key"):
        read_key(folder / "key")


def test_options_leave_the_turns_out() -> None:
    assert options_of(3, 2.5, 1) == Options(max_turns=3, deadline_ms=2500, seed=1, include=())
