"""Rows are made once, in order; a table of what is done is there all the while."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import typer
from tests.evaluation.rows import ROW
from typer.testing import CliRunner

from rsagent.errors import RSAgentError
from rsagent.evaluation.journal import Journal
from rsagent.evaluation.story import Story
from rsagent.masks import rle
from rsagent.training.ablation import __main__ as command
from rsagent.training.ablation.arms import Setting, arms
from rsagent.training.ablation.driving import CHECKPOINT

STORY = Story(size=(2, 2), submitted=rle.encode(np.eye(2, dtype=np.bool_)))


@dataclass
class Machine:
    """Runs nothing; an evaluation finds what `ious` has for its checkpoint, once at one turn and once at more."""

    ious: dict[str, float]
    fails: str = ""
    ran: list[list[str]] = field(default_factory=list)

    def __call__(self, words: Sequence[str], environment: dict[str, str], log: Path) -> int:
        self.ran.append(list(words))
        if self.fails and self.fails in " ".join(words):
            return 1
        if words[:2] == ("rsagent.cli", "eval"):
            iou = self.ious[environment[CHECKPOINT]]
            with Journal.open(Path(words[3]) / "rows.jsonl", {}) as journal:
                for run, value in (("one-shot", 0.0), ("up to 8 turns", iou)):
                    for id in ("a", "b"):
                        journal.add(run, replace(ROW, id=id, iou=value), STORY)
        return 0


def test_every_row_is_made_and_compared(tmp_path: Path) -> None:
    rows = arms(Setting(tmp_path, sft="start", rewards=("iou",)))
    machine = Machine({"start": 0.5, rows[1].checkpoint: 0.6, rows[2].checkpoint: 0.55})
    command.fill(tmp_path, rows, ("--count", "2"), machine)
    lines = (tmp_path / "ablation.md").read_text(encoding="utf-8").splitlines()
    assert [line.split(" | ")[2] for line in lines[3:]] == ["+10.0 (+10.0 … +10.0)", "-5.0 (-5.0 … -5.0)"]
    found = json.loads((tmp_path / "ablation.json").read_text(encoding="utf-8"))
    assert found["SFT + RL"]["gain"]["samples"] == 2
    assert found["SFT + RL, without iou"]["trained by"].endswith("--without iou")

    machine.ran.clear()
    command.fill(tmp_path, rows, ("--count", "2"), machine)
    assert machine.ran == []
    with pytest.raises(RSAgentError, match="another command"):
        command.fill(tmp_path, rows, ("--count", "3"), machine)


def test_a_row_that_fails_is_told_and_made_the_next_time(tmp_path: Path) -> None:
    rows = arms(Setting(tmp_path, sft="start", rewards=("iou",)))
    machine = Machine({"start": 0.5, rows[1].checkpoint: 0.6, rows[2].checkpoint: 0.55}, fails=str(rows[1].folder))
    with pytest.raises(RSAgentError, match="goes on from here"):
        command.fill(tmp_path, rows[:2], ("--count", "2"), machine)
    assert "| SFT + RL | – |" in (tmp_path / "ablation.md").read_text(encoding="utf-8")
    machine.fails = ""
    command.fill(tmp_path, rows, ("--count", "2"), machine)
    assert "| -5.0 (" in (tmp_path / "ablation.md").read_text(encoding="utf-8").splitlines()[-1]


def test_rows_are_made_at_once_but_none_before_what_it_starts_from(tmp_path: Path) -> None:
    rows = arms(Setting(tmp_path, base="base", trajectories=tmp_path, rewards=("iou", "stop")))
    machine = Machine(dict.fromkeys([row.checkpoint for row in rows], 0.5))
    command.fill(tmp_path, rows, ("--count", "2"), machine, at_once=4)
    ran = [" ".join(words) for words in machine.ran]
    start = next(place for place, words in enumerate(ran) if "sft/run" in words)
    assert [place for place, words in enumerate(ran) if ".rl run" in words and place < start] == []
    assert json.loads((tmp_path / "ablation.json").read_text(encoding="utf-8")).keys() == {row.name for row in rows}


def test_a_row_whose_start_failed_fails_with_it(tmp_path: Path) -> None:
    rows = arms(Setting(tmp_path, base="base", trajectories=tmp_path))
    machine = Machine(dict.fromkeys([row.checkpoint for row in rows], 0.5), fails=str(tmp_path / "sft" / "run"))
    with pytest.raises(RSAgentError, match="SFT \\+ RL"):
        command.fill(tmp_path, rows, ("--count", "2"), machine, at_once=2)
    assert not any(words[1] == "run" for words in machine.ran)


def test_what_no_reward_is_called_is_refused(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(command.main)
    done = CliRunner().invoke(app, [str(tmp_path), "--sft", "x", "--rewards", "luck"])
    assert done.exit_code == 2
