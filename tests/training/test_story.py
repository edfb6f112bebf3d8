"""The four commands that tell the paper's story, in order and for real: each stage reads what the one before it wrote.

The shipped pair plays, so that trajectories pass and calls are well formed; the stages are as short as they can be.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import load_file
from tests.training.material import or_skip
from typer.testing import CliRunner

from rsagent.cli.app import app as rsagent
from rsagent.policy.files import locate
from rsagent.training.rl.__main__ import app as rl
from rsagent.training.sft.__main__ import main as sft
from rsagent.training.synthesis import __main__ as synthesis
from rsagent.training.synthesis import records
from rsagent.training.world.stock import find

KINDS = "name"


@pytest.fixture(autouse=True)
def material() -> Iterator[None]:
    """Skips where the world's pictures are missing; gives back the threads that the stages set."""
    or_skip(lambda: find("backgrounds/mate/nature/Dune.jpg"))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def told(app: typer.Typer, *words: object) -> str:
    """What a command prints; it must end well."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def changed(before: Path, after: Path) -> bool:
    """Whether two checkpoints of the same shape have different weights."""
    old, new = (load_file(folder / "model.safetensors") for folder in (before, after))
    assert old.keys() == new.keys()
    return any(not torch.equal(old[name], new[name]) for name in old)


def test_trajectories_then_sft_then_rl_then_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(synthesis, "AHEAD", 0)  # one shard is enough for eight
    data, learned, better, figures = (tmp_path / name for name in ("data", "sft", "rl", "eval"))

    told(synthesis.app, "make", "-o", data, "--count", 8, "--kinds", KINDS, "--situations", "plain", "--workers", 1)
    assert len(list(records.read(data))) == 8

    taught = typer.Typer()
    taught.command()(sft)
    told(taught, data, learned, "--steps", 2, "--batch", 2, "--held-out", 2, "--lr", 1e-4)
    assert changed(locate("nano"), learned / "export")
    assert (learned / "curves.png").stat().st_size

    run = ["run", better, "--checkpoint", learned / "export", "--steps", 1, "--watched", 0, "--lr", 1e-4]
    asked = ["--requests", 2, "--group", 3, "--sift", 2, "--strange", 0.5, "--practice", "both"]
    told(rl, *run, *asked, "--guided", "all", "--turns", 2, "--updates", 1)
    single = ["--moves", "--guided", "all", "--credit", "branch", "--least", 0.1, "--blame", 0.5]
    told(rl, "run", tmp_path / "moves", *run[2:], *asked, *single)
    [line] = (json.loads(line) for line in (tmp_path / "moves" / "rl.jsonl").read_text(encoding="utf-8").splitlines())
    assert (line["episodes"], "giou" in line) == (6, False)  # two requests, three moves each
    lines = [json.loads(line) for line in (better / "rl.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["episodes"] for line in lines if line["kind"] == "train"] == [8]  # four requests, tried twice
    assert (better / "curves.png").stat().st_size

    monkeypatch.setenv("RSAGENT_POLICY__LOCAL__CHECKPOINT", str(better / "export"))
    told(rsagent, "eval", "-o", figures, "--count", 2, "--turns", "1,2", "--kinds", KINDS, "--pictures", 2)
    report = json.loads((figures / "report.json").read_text(encoding="utf-8"))
    assert {run["all"]["scored"] for run in report["runs"].values()} == {2}
