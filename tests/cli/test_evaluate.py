"""`rsagent eval`, against a scripted service."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.api.stage import FINISH, SEGMENT, Cast, call, on_air
from tests.evaluation.datasets.making import annotation, box, instances, photographs
from typer.testing import CliRunner

from rsagent.cli.app import app
from rsagent.cli.evaluate import Plan, check, run, runs_of, told
from rsagent.cli.samples import Choice, Made, load
from rsagent.errors import BadQuery, RSAgentError, SegmenterError
from rsagent.evaluation.datasets import DatasetError
from rsagent.segmenter.fake import FakeSegmenter

RUNNER = CliRunner()
WHOLE = call("segment", bbox_2d=[0, 0, 999, 999])


@pytest.fixture
def choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Choice:
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    instances(
        data / "instances.json", [annotation(1, 1, 18, [box(10, 7, 20, 15)]), annotation(2, 2, 1, [box(0, 0, 40, 30)])]
    )
    photographs(data / "images")
    return Choice("coco", data)


def test_help_teaches() -> None:
    shown = RUNNER.invoke(app, ["eval", "--help"]).output
    for words in ("reasonseg", "--turns", "--zoom", "--server", "goes on where it was", "IoU 0"):
        assert words in shown


def test_budgets_of_the_command_line() -> None:
    runs = runs_of("1,8", "both")
    assert list(runs) == ["one-shot, no zoom", "up to 8 turns, no zoom", "one-shot", "up to 8 turns"]
    assert [(one.turns, one.zooms) for one in runs.values()] == [(1, 0), (8, 0), (1, None), (8, None)]


@pytest.mark.parametrize(("turns", "zoom"), [("", "on"), ("0", "on"), ("a,b", "on"), ("1", "perhaps")])
def test_what_is_no_budget_is_refused(turns: str, zoom: str) -> None:
    with pytest.raises(BadQuery, match=r"--turns|--zoom"):
        runs_of(turns, zoom)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Choice("imagenet"), "the data set is one of collages, reasonseg"),
        (Choice("refcoco"), "Name its folder"),
        (Choice("collages", split="testA"), "--split is one of"),
        (Choice("collages", made=Made(wording="loud")), "--wording is one of train, heldout"),
        (Choice("collages", made=Made(scenes="huge")), "--scenes is one of plain, small"),
        (Choice("reasonseg", Path("x"), ignore="maybe"), "--ignore is one of exclude"),
        (Choice("collages", Path("x")), "the folder: says nothing about collages"),
        (Choice("coco", Path("x"), split="test"), "--split: says nothing about coco"),
        (Choice("reasonseg", Path("x"), made=Made(count=60, seed=3)), "--count, --seed: says nothing about reasonseg"),
        (Choice("grefcoco", Path("x"), by="unc"), "--by: says nothing"),
    ],
)
def test_what_is_no_choice_is_refused(choice: Choice, words: str) -> None:
    with pytest.raises(BadQuery, match=words):
        load(choice)


def test_kinds_and_limits(choice: Choice) -> None:
    assert [one.query for one in load(choice)] == ["dog", "person"]
    assert [one.query for one in load(Choice("coco", choice.path, limit=1))] == ["dog"]
    with pytest.raises(RSAgentError, match="no sample is of the kind 'several': there are one"):
        load(Choice("coco", choice.path, kinds=("several",)))
    with pytest.raises(DatasetError):
        load(Choice("coco", Path("nowhere")))


async def test_a_service_is_evaluated_and_all_is_written(choice: Choice, tmp_path: Path) -> None:
    async with on_air(Cast([SEGMENT, WHOLE, FINISH])) as stage:
        plan = Plan(runs_of("1,8", "on"), server=stage.url, out=tmp_path / "out", data=choice.as_config())
        reports = await run(plan, load(choice))
        turns = stage.policy.started
        again = await run(plan, load(choice))
        assert stage.policy.started == turns
    assert reports["one-shot"].all.total == 2
    assert [row.iou for row in again["up to 8 turns"].rows] == [row.iou for row in reports["up to 8 turns"].rows]
    fields = json.loads((tmp_path / "out" / "report.json").read_text())
    assert fields["config"]["dataset"] == "coco"
    assert set(fields["runs"]) == {"one-shot", "up to 8 turns"}
    assert "| all | 2 |" in (tmp_path / "out" / "report.md").read_text()
    assert "<article" in (tmp_path / "out" / "report.html").read_text()
    assert "| scored / total | 2 / 2 | 2 / 2 |" in told(reports)


async def test_another_budget_does_not_mix_with_earlier_rows(choice: Choice, tmp_path: Path) -> None:
    async with on_air() as stage:
        await run(Plan(runs_of("1", "on"), server=stage.url, out=tmp_path / "out"), load(choice))
        with pytest.raises(RSAgentError, match=r"was made otherwise .*runs was"):
            await run(Plan(runs_of("2", "on"), server=stage.url, out=tmp_path / "out"), load(choice))


async def test_a_service_that_goes_away_leaves_what_it_answered(choice: Choice, tmp_path: Path) -> None:
    async with on_air() as stage:
        plan = Plan(runs_of("1", "on"), server=stage.url, out=tmp_path / "out")
    with pytest.raises(RSAgentError, match="no service is ready at"):
        await run(plan, load(choice))


async def test_zooms_are_the_services_own_matter(choice: Choice) -> None:
    async with on_air() as stage:
        with pytest.raises(BadQuery, match="needs engines of our own"):
            await run(Plan(runs_of("8", "off"), server=stage.url), load(choice))


def test_the_command_ends_with_one_where_some_have_no_answer(choice: Choice) -> None:
    broken = Cast(segmenter=FakeSegmenter(failure=SegmenterError("the model broke")))

    async def ask() -> tuple[int, str]:
        async with on_air(broken) as stage:
            words = ["eval", "coco", str(choice.path), "--server", stage.url, "--turns", "1"]
            result = await asyncio.to_thread(RUNNER.invoke, app, words)
        return result.exit_code, result.output

    code, output = asyncio.run(ask())
    assert code == 1
    assert "| scored / total | 0 / 2 |" in output


def test_our_figures_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert check()
    assert "1000 random pairs" in capsys.readouterr().out
