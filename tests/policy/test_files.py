"""What a checkpoint's files say, without loading it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.policy.tiny import rewrite_json

from rsagent.errors import CheckpointError
from rsagent.policy.checkpoint import load
from rsagent.policy.files import NANO, describe, locate
from rsagent.policy.settings import LocalPolicySettings


@pytest.mark.parametrize("max_pixels", [2048, 40_000, 1024 * 1024])
def test_they_say_what_loading_finds(max_pixels: int) -> None:
    loaded = load(LocalPolicySettings(max_pixels=max_pixels))
    said = describe(NANO, "nano", max_pixels)
    assert (said.dialect, said.view) == (loaded.dialect, loaded.view)
    assert said.max_context == loaded.model.config.text_config.max_position_embeddings


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A checkpoint as it was saved before processors had one file."""
    (tmp_path / "config.json").write_text('{"model_type": "qwen2_5_vl", "max_position_embeddings": 128000}')
    (tmp_path / "preprocessor_config.json").write_text(
        '{"patch_size": 14, "merge_size": 2, "min_pixels": 3136, "max_pixels": 12845056}'
    )
    return tmp_path


def test_older_checkpoints_are_read_too(older: Path) -> None:
    said = describe(older, "older", 1_000_000)
    assert (said.dialect, said.max_context) == ("qwen2.5-vl", 128_000)
    assert (said.view.factor, said.view.max_pixels, said.view.min_pixels) == (28, 1_000_000, 3136)


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("preprocessor_config.json", {"patch_size": None}, "does not say"),
        ("config.json", {"max_position_embeddings": None}, "does not say"),
        ("config.json", {"model_type": "llama"}, "use one of"),
    ],
)
def test_what_is_missing_is_told(older: Path, file: str, change: dict[str, object], told: str) -> None:
    rewrite_json(older / file, **change)
    with pytest.raises(CheckpointError, match=told):
        describe(older, "older", 1_000_000)


def test_no_processor_is_told(older: Path) -> None:
    (older / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match="preprocessor_config"):
        describe(older, "older", 1_000_000)


def test_the_packaged_one_is_found() -> None:
    assert locate("nano") == NANO
