from __future__ import annotations

from pathlib import Path

import pytest
import typer
from tests.training.synthesis.studio import acted, request, trajectory
from typer.testing import CliRunner

from rsagent.training.sft.__main__ import main
from rsagent.training.sft.train import taught
from rsagent.training.synthesis.records import TrajectoriesMissing

MADE = [trajectory(acted(request(0))), trajectory(acted(request(0), "mistaken")), trajectory(acted(request()))]


def test_shapes_are_left_out() -> None:
    assert [one.meta.shape for one in MADE[1:]] == ["corrected", "absent"]
    assert taught(MADE, ()) == MADE
    assert taught(MADE, ("corrected",)) == [MADE[0], MADE[2]]


def test_something_must_be_left() -> None:
    with pytest.raises(TrajectoriesMissing, match="no trajectory is left without corrected, absent"):
        taught(MADE[1:], ("corrected", "absent"))


def test_an_unknown_shape_is_an_error_that_names_those_there_are(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, [str(tmp_path), str(tmp_path / "run"), "--without", "corected"])
    assert done.exit_code == 2
    assert "'corected'" in done.output
    assert "click undone" in done.output
