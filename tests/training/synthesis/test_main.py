from __future__ import annotations

from pathlib import Path

import pytest
from tests.training.synthesis.studio import acted, request, trajectory
from typer.testing import CliRunner

from rsagent.training.synthesis.__main__ import app
from rsagent.training.synthesis.records import CHOSEN, write


def invoke(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.output


def test_help_says_what_each_command_makes() -> None:
    code, said = invoke("--help")
    assert code == 0
    assert all(word in said for word in ("make", "own", "choose", "view"))


@pytest.mark.parametrize("wrong", [("--kinds", "colour"), ("--split", "dev"), ("--images", "gif"), ("--pairs", "old")])
def test_a_wrong_word_is_refused_before_anything_is_played(tmp_path: Path, wrong: tuple[str, str]) -> None:
    code, said = invoke("make", "-o", str(tmp_path / "out"), *wrong)
    assert code == 2
    assert wrong[0] in said
    assert not (tmp_path / "out").exists()


def test_a_page_is_written_of_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / CHOSEN, [trajectory(acted(request(0), "mistaken"))])
    code, _ = invoke("view", "-o", str(tmp_path))
    assert code == 0
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "not learnt: mistaken" in page
    assert page.count("<figure") >= 3


def test_choosing_from_nothing_names_the_command(tmp_path: Path) -> None:
    code, _ = invoke("choose", "-o", str(tmp_path))
    assert code != 0
