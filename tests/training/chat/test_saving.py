"""What is exported loads as a checkpoint that serves, whole or with adapters merged in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.policy.tiny import rewrite_json
from tests.training.chat.test_passage import passages

from rsagent.policy.checkpoint import load
from rsagent.policy.settings import LocalPolicySettings
from rsagent.training.chat.adapting import Part, adapt, learning
from rsagent.training.chat.reading import Reader
from rsagent.training.chat.saving import dtype_of, export


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize("part", ["language", "layers", "lora"])
def test_what_was_learned_is_what_is_served(
    tiny_directories: dict[str, Path], tmp_path: Path, kind: str, part: Part
) -> None:
    source = tiny_directories[kind]
    checkpoint = load(LocalPolicySettings(checkpoint=str(source)))
    model = adapt(checkpoint.model, part, rank=2)
    with torch.no_grad():
        for parameter in learning(model).values():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    for _ in range(2):
        export(model, source, tmp_path / "export")
    again = load(LocalPolicySettings(checkpoint=str(tmp_path / "export")))
    several = passages(checkpoint, (True, True))
    with torch.no_grad():
        before, after = (Reader(each).tell(several).logprobs for each in (checkpoint, again))
    assert after.numpy() == pytest.approx(before.numpy(), abs=2e-3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export"]


def test_tied_weights_are_written_once(tiny_directories: dict[str, Path], tmp_path: Path) -> None:
    """A config that ties them makes loaders leave the copy unread; files would only be larger."""
    source = tiny_directories["qwen3_vl"]
    tied = load(LocalPolicySettings(checkpoint=str(source)))
    assert tied.model.config.tie_word_embeddings
    export(tied.model, source, tmp_path / "export")
    names = [set(load_file(folder / "model.safetensors")) for folder in (source, tmp_path / "export")]
    assert names[0] == names[1]


def test_each_part_learns_nothing_else(tiny_directories: dict[str, Path]) -> None:
    def names(part: Part) -> set[str]:
        checkpoint = load(LocalPolicySettings(checkpoint=str(tiny_directories["qwen3_vl"])))
        return set(learning(adapt(checkpoint.model, part, rank=2)))

    assert any("visual" in name for name in names("all"))
    assert all("language_model" in name for name in names("language"))
    assert names("layers") < names("language")
    assert all(".layers." in name for name in names("layers"))
    assert all("lora_" in name and "language_model" in name for name in names("lora"))


def test_the_type_on_disk_is_the_one_the_config_names(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert dtype_of(tmp_path) == torch.float32
    rewrite_json(tmp_path / "config.json", dtype="bfloat16")
    assert dtype_of(tmp_path) == torch.bfloat16
    rewrite_json(tmp_path / "config.json", dtype="no such thing")
    assert dtype_of(tmp_path) == torch.float32
