"""Several runs become one checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rsagent.policy.checkpoint import load
from rsagent.policy.settings import LocalPolicySettings
from rsagent.training.chat.adapting import adapt, learning
from rsagent.training.chat.saving import export
from rsagent.training.rl.merging import merge


def run(folder: Path, start: Path, shift: float) -> Path:
    """What a run leaves that added `shift` to each weight."""
    model = adapt(load(LocalPolicySettings(checkpoint=str(start))).model, "language")
    with torch.no_grad():
        for parameter in learning(model).values():
            parameter.add_(shift)
    folder.mkdir()
    export(model, start, folder / "export")
    torch.save({"weights": {name: value.detach() for name, value in learning(model).items()}}, folder / "rl.pt")
    return folder


def test_the_mean_of_two_runs_lies_between_them(tiny_directories: dict[str, Path], tmp_path: Path) -> None:
    start = tiny_directories["qwen3_vl"]
    folders = [run(tmp_path / str(shift), start, shift) for shift in (0.5, -0.25)]
    merge(tmp_path / "both", folders)
    before, after = (load(LocalPolicySettings(checkpoint=str(path))).model for path in (start, tmp_path / "both"))
    moved = dict(adapt(after, "language").named_parameters())
    for name, value in before.named_parameters():
        expected = value + 0.125 if moved[name].requires_grad else value
        torch.testing.assert_close(moved[name].detach(), expected.detach(), atol=4e-3, rtol=4e-3)


def test_runs_of_different_weights_have_no_mean(tiny_directories: dict[str, Path], tmp_path: Path) -> None:
    start = tiny_directories["qwen3_vl"]
    folders = [run(tmp_path / str(shift), start, shift) for shift in (0.5, -0.25)]
    torch.save({"weights": {"lora": torch.zeros(1)}}, folders[1] / "rl.pt")
    with pytest.raises(ValueError, match="same weights"):
        merge(tmp_path / "both", folders)
