from __future__ import annotations

import os
from pathlib import Path

from tests.evaluation.rows import sample

from rsagent.evaluation import fingerprint
from rsagent.settings import Settings


def test_other_sentences_are_another_fingerprint() -> None:
    one, other = sample("a"), sample("b")
    assert fingerprint.of_samples([one, other]) == fingerprint.of_samples([sample("a"), sample("b")])
    assert fingerprint.of_samples([one, other]) != fingerprint.of_samples([other, one])


def test_other_weights_are_another_fingerprint(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"one")
    settings = Settings(policy={"local": {"checkpoint": str(tmp_path)}})
    first = fingerprint.of_engines(settings)
    assert fingerprint.of_engines(settings) == first
    weights.write_bytes(b"two")
    os.utime(weights, (1, 1))
    assert fingerprint.of_engines(settings) != first


def test_each_kind_of_engine_is_told(tmp_path: Path) -> None:
    served = fingerprint.of_engines(Settings(policy={"openai": {"base_url": "http://127.0.0.1:1/v1"}}))
    assert "http://127.0.0.1:1/v1" in served["policy"]
    (tmp_path / "sam.pth").write_bytes(b"x")
    own = fingerprint.of_engines(Settings(segmenter={"variant": "vit_b", "path": str(tmp_path / "sam.pth")}))
    far = fingerprint.of_engines(Settings(segmenter={"variant": "vit_b", "path": "https://example.org/sam.pth"}))
    assert far["segmenter weights"] == "https://example.org/sam.pth"
    assert own["segmenter weights"] != far["segmenter weights"]
    assert fingerprint.of_engines(Settings(profile="engines"))["policy"].startswith("vllm ")
