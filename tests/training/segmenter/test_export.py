import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.training.segmenter.stock import material

from rsagent.training.segmenter import train as training
from rsagent.training.segmenter.export import export


def test_an_export_loads_again_and_says_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "gather", lambda cliparts, cache: material())
    stage = tmp_path / "stage"
    training.train(training.Recipe(out=stage, minutes=0.005, side=64, images=1, each=3))
    export(stage / "mean.safetensors", 64, [stage], {"box": 0.5}, tmp_path / "nano")
    page = json.loads((tmp_path / "nano.json").read_text())
    assert page["figures"] == {"box": 0.5}
    assert page["architecture"]["image_size"] == 64
    assert page["stages"][0]["steps"] > 0
    assert str(tmp_path) not in json.dumps(page)
    trained = load_file(stage / "mean.safetensors")
    for name, value in training.load(tmp_path / "nano.safetensors", 64).state_dict().items():
        torch.testing.assert_close(value, trained[name], rtol=2e-3, atol=2e-3)


def test_nothing_of_the_backbone_is_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "gather", lambda cliparts, cache: material())
    stage = tmp_path / "stage"
    training.train(training.Recipe(out=stage, minutes=0.005, side=64, images=1, each=3))
    export(stage / "mean.safetensors", 64, [stage], {}, tmp_path / "nano")
    held = load_file(tmp_path / "nano.safetensors")
    assert held
    assert not [name for name in held if "backbone" in name]
    assert json.loads((tmp_path / "nano.json").read_text())["backbone"]["parameters"] > 1e6
