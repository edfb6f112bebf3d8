"""The two commands: how fast, and what it looks like."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from tests.training.material import or_skip
from typer.testing import CliRunner

from rsagent.training.world.__main__ import app
from rsagent.training.world.stock import find


@pytest.fixture(autouse=True)
def material() -> None:
    or_skip(lambda: find("backgrounds/mate/nature/Dune.jpg"))


def test_bench_prints_a_rate() -> None:
    done = CliRunner().invoke(app, ["bench", "--count", "3", "--size", "64", "64"])
    assert done.exit_code == 0, done.output
    assert "scenes/s wall" in done.output


def test_sheet_writes_a_picture(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    kinds = ["--kinds", "name,absent,relation", "--situations", "plain"]
    wish = ["sheet", "-o", str(out), *kinds, "--columns", "2", "--size", "100", "140"]
    done = CliRunner().invoke(app, wish)
    assert done.exit_code == 0, done.output
    written = cv2.imread(str(out))
    assert written is not None
    assert written.shape[1] == 280


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    done = CliRunner().invoke(app, ["sheet", "--kinds", "colour"])
    assert done.exit_code != 0
    assert "ordinal" in done.output


def test_an_unknown_split_is_refused() -> None:
    done = CliRunner().invoke(app, ["bench", "--split", "dev"])
    assert done.exit_code != 0
