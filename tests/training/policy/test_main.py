"""The policy's stages as commands, from nothing to a checkpoint that plays, on to one with more words, and on in other
scenes: for real, and as short as they can be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.training.material import or_skip
from typer.testing import CliRunner

from rsagent.errors import CheckpointError
from rsagent.policy.checkpoint import load
from rsagent.policy.settings import LocalPolicySettings
from rsagent.training.policy import album, joint, lessons, theatre, vision
from rsagent.training.policy.__main__ import app
from rsagent.training.world.stock import find

SCENES = 192
MOMENT = ("--minutes", 0.01, "--batch", 2)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small pages and short checks; skips where the world's pictures are missing."""
    or_skip(lambda: find("backgrounds/mate/nature/Dune.jpg"))
    for module in (album, theatre):
        monkeypatch.setattr(module, "PAGE", SCENES)
    monkeypatch.setattr(theatre.perform, "__defaults__", (8, lessons.PLAIN))
    monkeypatch.setattr(vision, "SETTLED", 2)
    for stage in (vision.VisionTrainer, joint.Joint):
        monkeypatch.setattr(stage.validate, "__defaults__", (1,))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def told(command: str, *words: object) -> None:
    """Run a stage; it must end well."""
    done = CliRunner().invoke(app, [command, *(str(word) for word in words)])
    assert done.exit_code == 0, (done.output, done.exception)


def figures(folder: Path, stage: str) -> dict[str, float]:
    """The last line of a stage's log."""
    line: dict[str, float] = json.loads((folder / f"{stage}.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    return line


def test_from_nothing_to_a_policy_and_on_to_more_words(tmp_path: Path, wordnet: Path, source: Path) -> None:
    first, grown = tmp_path / "first", tmp_path / "grown"
    told("album", "--folder", first, "--pages", 1, "--crowded", 1, "--large", 1, "--few", 1, "--held", 1)
    told("tokenizer", "--folder", first)
    told("vision", "--folder", first, "--few", 0.01, *MOMENT)
    assert figures(first, "vision")["val_cell_acc"] >= 0
    told("play", "--folder", first, "--bills", 1)
    told("joint", "--folder", first, *MOMENT)
    told("export", "--folder", first, first / "export")
    assert load(LocalPolicySettings(checkpoint=str(first / "export"))).tokenizer.encode("dog")

    told("words", "--folder", grown, "--start", first / "export", "--vectors", source, "--wordnet", wordnet)
    (grown / "album").symlink_to(first / "album")
    told("vision", "--folder", grown, "--start", first / "export", *MOMENT)
    told("play", "--folder", grown, "--bills", 1)
    told("joint", "--folder", grown, "--grow", first / "export", *MOMENT)
    told("export", "--folder", grown, grown / "export")
    before, after = (load_file(folder / "export" / "model.safetensors") for folder in (first, grown))
    assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith("model.visual."))
    assert "lm_head.weight" in after

    last = tmp_path / "last"
    shutil.copytree(grown, last, ignore=shutil.ignore_patterns("*.pt", "*.jsonl", "album", "export"))
    (last / "album").mkdir()
    (last / "album" / "val").symlink_to(first / "album" / "val")
    none = ("--crowded", 0, "--few", 0, "--held", 0)
    told("album", "--folder", last, "--first", 1, "--pages", 1, "--large", 1, *none, "--strange", 1)
    assert (last / "album" / "train" / "0001-images.npy").is_file()
    told("vision", "--folder", last, "--start", grown / "joint.pt", *MOMENT)
    told("associate", "--folder", last, "--like", grown / "associations.npy")
    told("play", "--folder", last, "--bills", 1)
    told("joint", "--folder", last, "--start", grown / "joint.pt", "--seeing", "--tower", 0, *MOMENT)
    seen = torch.load(last / "vision.pt", weights_only=True)["visual"]
    ended = torch.load(last / "joint.pt", weights_only=True)["model"]
    assert all(torch.equal(value, ended[f"model.visual.{name}"]) for name, value in seen.items())
    told("export", "--folder", last, last / "export")
    told("mean", grown / "export", last / "export", "--to", tmp_path / "mean")
    assert load(LocalPolicySettings(checkpoint=str(tmp_path / "mean"))).dialect == "nano"


def test_the_mean_of_what_is_not_there_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["mean", "nano", str(tmp_path / "nowhere"), "--to", str(tmp_path / "none")])
    assert isinstance(done.exception, CheckpointError)
    assert "no checkpoint directory" in str(done.exception)
    assert not (tmp_path / "none").exists()
