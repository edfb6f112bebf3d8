"""Tiny random checkpoints of both architectures, made once a session."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.policy.tiny import save_tiny

from rsagent.policy.checkpoint import Checkpoint, load
from rsagent.policy.settings import LocalPolicySettings


@pytest.fixture(scope="session")
def tiny_directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`{"qwen2_5_vl": directory, "qwen3_vl": directory}`."""
    root = tmp_path_factory.mktemp("checkpoints")
    return {kind: save_tiny(kind, root / kind) for kind in ("qwen2_5_vl", "qwen3_vl")}


@pytest.fixture(scope="session")
def tiny_checkpoints(tiny_directories: dict[str, Path]) -> dict[str, Checkpoint]:
    settings = {kind: LocalPolicySettings(checkpoint=str(path)) for kind, path in tiny_directories.items()}
    return {kind: load(each) for kind, each in settings.items()}


@pytest.fixture(params=["qwen2_5_vl", "qwen3_vl"])
def checkpoint(request: pytest.FixtureRequest, tiny_checkpoints: dict[str, Checkpoint]) -> Checkpoint:
    """A tiny checkpoint, once of each architecture."""
    return tiny_checkpoints[request.param]


@pytest.fixture(scope="session")
def qwen3(tiny_checkpoints: dict[str, Checkpoint]) -> Checkpoint:
    return tiny_checkpoints["qwen3_vl"]


@pytest.fixture
def endless(qwen3: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """A checkpoint whose turns end only by length."""
    monkeypatch.setattr(Checkpoint, "end_ids", frozenset())
    return qwen3
