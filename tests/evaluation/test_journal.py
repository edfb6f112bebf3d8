"""Rows on disk: what a killed run leaves, the next one goes on from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.api.stage import FINISH
from tests.evaluation.rows import LAST, LEFT, ROW, WHOLE, sample

from rsagent.agent.runner import Runner
from rsagent.errors import RSAgentError
from rsagent.evaluation import Attempt, Halted, evaluate, playing
from rsagent.evaluation.journal import Journal
from rsagent.evaluation.story import Story
from rsagent.masks import rle
from rsagent.policy.fake import ScriptedPolicy
from rsagent.segmenter.fake import FakeSegmenter

CONFIG = {"turns": [1, 8], "seed": 0}
STORY = Story(size=(2, 2), submitted=rle.encode(np.eye(2, dtype=np.bool_)))


def test_rows_and_stories_come_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rows.jsonl"
    with Journal.open(path, CONFIG) as journal:
        journal.add("one-shot", ROW, STORY)
        journal.add("more", ROW, STORY)
        journal.add("more", replace(ROW, iou=0.7), STORY)
    with Journal.open(path, CONFIG) as journal:
        assert journal.rows == {("one-shot", "a"): ROW, ("more", "a"): replace(ROW, iou=0.7)}
        assert journal.story("more", "a") == STORY
        assert journal.story("more", "a").mask(STORY.submitted).tolist() == [[True, False], [False, True]]


def test_a_run_killed_at_any_byte_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with Journal.open(path, CONFIG) as journal:
        journal.add("run", ROW, STORY)
        journal.add("run", replace(ROW, id="b"), STORY)
    whole = path.read_bytes()
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        with Journal.open(path, CONFIG) as journal:
            assert len(journal.rows) == max(0, whole[:cut].count(b"\n") - 1)
            journal.add("run", replace(ROW, id="c"), STORY)
        with Journal.open(path, CONFIG) as journal:
            assert ("run", "c") in journal.rows


def test_rows_of_another_configuration_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    Journal.open(path, CONFIG).lines.close()
    with pytest.raises(RSAgentError, match=r"turns was \[1, 8\], is \[1, 4\].*choose another folder"):
        Journal.open(path, CONFIG | {"turns": (1, 4)})
    with Journal.open(path, CONFIG | {"turns": (1, 8)}) as journal:
        assert not journal.rows


@pytest.mark.parametrize("content", [b'{"id": 1}\n', b"hello\n", b"[]\n"])
def test_another_file_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(RSAgentError, match="no file of evaluation rows"):
        Journal.open(path, CONFIG)
    assert path.read_bytes() == content


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with Journal.open(path, CONFIG) as journal:
        journal.add("run", ROW, STORY)
    path.write_bytes(path.read_bytes() + b'{"run": "x"}\n')
    with pytest.raises(RSAgentError, match="damaged at byte"):
        Journal.open(path, CONFIG)


def test_two_runs_do_not_write_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with Journal.open(path, CONFIG), pytest.raises(RSAgentError, match="another run writes"):
        Journal.open(path, CONFIG)


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(RSAgentError, match="cannot write"):
        Journal.open(tmp_path, CONFIG)


async def test_what_is_answered_is_not_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    samples = [sample(str(number)) for number in range(6)]
    policy = ScriptedPolicy([LEFT, WHOLE, LAST])
    asked = 0

    async def fragile(image: NDArray[np.uint8], query: str) -> Attempt:
        nonlocal asked
        asked += 1
        if asked > 3:
            raise Halted("gone")
        return await playing(Runner(policy, FakeSegmenter()))(image, query)

    with Journal.open(path, CONFIG) as journal, pytest.raises(Halted):
        await evaluate(samples, fragile, at_once=1, journal=journal, run="run")
    with Journal.open(path, CONFIG) as journal:
        answer = playing(Runner(policy, FakeSegmenter()))
        report = await evaluate(samples, answer, journal=journal, run="run")
        story = journal.story("run", "5")
    assert policy.started == 6 * 3
    assert [row.iou for row in report.rows] == [0.5] * 6
    assert [step.iou for step in story.steps] == [1.0, 0.5, None]
    assert [step.action.tool for step in story.steps] == ["segment", "segment", "finish"]


async def test_errors_are_asked_again_on_demand(tmp_path: Path) -> None:
    async def broken(image: NDArray[np.uint8], query: str) -> Attempt:
        raise RSAgentError("no")

    good = playing(Runner(ScriptedPolicy([LEFT, FINISH]), FakeSegmenter()))
    with Journal.open(tmp_path / "rows.jsonl", CONFIG) as journal:
        assert (await evaluate([sample()], broken, journal=journal)).all.scored == 0
        assert (await evaluate([sample()], good, journal=journal)).all.scored == 0
        assert (await evaluate([sample()], good, journal=journal, again=True)).all.scored == 1
