"""Loading checkpoints, and what is said of those that do not load."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tests.policy.tiny import rewrite_json

from rsagent.errors import CheckpointError
from rsagent.policy.checkpoint import Checkpoint, load
from rsagent.policy.files import locate
from rsagent.policy.protocol import ViewSpec
from rsagent.policy.settings import LocalPolicySettings


@pytest.fixture
def copy(tiny_directories: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_directories["qwen3_vl"], tmp_path / "copy"))


def loaded(directory: Path, **settings: object) -> Checkpoint:
    return load(LocalPolicySettings.model_validate({"checkpoint": str(directory)} | settings))


@pytest.mark.parametrize(
    ("kind", "dialect", "factor"), [("qwen2_5_vl", "qwen2.5-vl", 28), ("qwen3_vl", "qwen3-vl", 32)]
)
def test_the_architecture_tells_dialect_and_view(
    tiny_checkpoints: dict[str, Checkpoint], kind: str, dialect: str, factor: int
) -> None:
    checkpoint = tiny_checkpoints[kind]
    assert checkpoint.dialect == dialect
    assert checkpoint.view == ViewSpec(max_pixels=50176, factor=factor, min_pixels=1024)
    assert checkpoint.model.dtype == torch.float32


def test_rsagent_json_overrides_them(copy: Path) -> None:
    (copy / "rsagent.json").write_text('{"dialect": "nano", "max_pixels": 4096, "min_pixels": 0}')
    checkpoint = loaded(copy)
    assert checkpoint.dialect == "nano"
    assert checkpoint.view == ViewSpec(max_pixels=4096, factor=32, min_pixels=0)


def test_the_settings_bound_the_view_and_choose_the_type(copy: Path) -> None:
    checkpoint = loaded(copy, max_pixels=2048, dtype="bfloat16", device="cpu")
    assert checkpoint.view.max_pixels == 2048
    assert checkpoint.model.dtype == torch.bfloat16


def test_the_end_of_a_message_ends_a_turn(qwen3: Checkpoint) -> None:
    assert qwen3.end_ids == {qwen3.tokenizer.convert_tokens_to_ids("<|im_end|>")}


def test_an_old_style_chat_template_is_found(copy: Path) -> None:
    template = (copy / "chat_template.jinja").read_text()
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(CheckpointError, match=r"chat_template\.jinja"):
        loaded(copy)
    (copy / "chat_template.json").write_text("{}")
    rewrite_json(copy / "chat_template.json", chat_template=template)
    assert loaded(copy).tokenizer.chat_template == template


@pytest.mark.parametrize("name", ["/nowhere/at/all", "./nowhere", "nowhere"])
def test_a_missing_directory_is_named(name: str) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint directory"):
        locate(name)


def test_a_hub_id_that_is_not_at_hand_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> str:
        raise OSError("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE"):
        locate("someone/a-model")


def test_a_hub_id_is_fetched_without_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, object] = {}

    def fetch(name: str, **options: object) -> str:
        asked.update(options, name=name)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert locate("someone/a-model", "abc") == tmp_path
    assert asked == {
        "name": "someone/a-model",
        "revision": "abc",
        "allow_patterns": ["*.json", "*.safetensors", "*.jinja", "*.txt"],
    }


def test_another_architecture_is_refused(copy: Path) -> None:
    rewrite_json(copy / "config.json", model_type="llama")
    with pytest.raises(CheckpointError, match="qwen2_5_vl, qwen3_vl"):
        loaded(copy)


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_broken_config_is_named(copy: Path, content: str | None) -> None:
    (copy / "config.json").unlink()
    if content is not None:
        (copy / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        loaded(copy)


def test_weights_are_safetensors_and_whole(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64])
    with pytest.raises(CheckpointError, match="safetensors"):
        loaded(copy)
    weights.rename(copy / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="safetensors"):
        loaded(copy)


def test_missing_weights_are_not_filled_with_noise(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    weights.pop("model.visual.merger.norm.weight")
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="lacks 1 weights"):
        loaded(copy)


def test_a_missing_image_processor_is_named(copy: Path) -> None:
    (copy / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match="image processor"):
        loaded(copy)


def test_an_unknown_device_is_named(copy: Path) -> None:
    with pytest.raises(CheckpointError, match="device"):
        loaded(copy, device="abacus")
