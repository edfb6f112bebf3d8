"""EfficientNet-Lite0 as the eyes of the nano: features of four scales, of which a stem for SAM's encoder is made.

Sizes as in the reference (github.com/tensorflow/tpu, `efficientnet/lite`; "EfficientNet", arXiv 1905.11946), without
its head. Batch norms are folded into the convolutions, so a block is three convolutions and ReLU6.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import interpolate, pad

FIRST = 32
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Of each stage: blocks, kernel, stride of the first block, expansion, channels."""
TAPS = {"half": 0, "quarter": 2, "eighth": 4, "sixteenth": 10, "thirty_second": 15}
"""The last block of each scale."""
MEAN, DEVIATION = 127.0, 128.0
GROUPS = 8


class Same(nn.Module):
    """A convolution with TensorFlow's "same" padding, which is one-sided where the stride is 2 and the size even."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.edge = kernel - stride if stride > 1 else 0
        around = 0 if self.edge else kernel // 2
        self.conv = nn.Conv2d(inside, outside, kernel, stride, around, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.edge:
            before = self.edge // 2
            x = pad(x, (before, self.edge - before, before, self.edge - before))
        out: torch.Tensor = self.conv(x)
        return out


class Block(nn.Module):
    """An inverted bottleneck (arXiv 1801.04381): widen, look around in each channel, narrow."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inside * expansion
        self.expand = Same(inside, wide, 1) if expansion > 1 else None
        self.depthwise = Same(wide, wide, kernel, stride, groups=wide)
        self.project = Same(wide, outside, 1)
        self.skips = stride == 1 and inside == outside

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x if self.expand is None else self.expand(x).clamp_(0, 6)
        y = self.project(self.depthwise(y).clamp_(0, 6))
        assert isinstance(y, torch.Tensor)
        return x + y if self.skips else y


class Backbone(nn.Module):
    """float [B, 3, S, S], normalised as SAM has it → features by the names of `TAPS`, and `first` (at a half)."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
        super().__init__()
        self.first = Same(3, FIRST, 3, 2)
        self.blocks = nn.ModuleList()
        inside = FIRST
        for count, kernel, stride, expansion, channels in STAGES:
            for number in range(count):
                self.blocks.append(Block(inside, channels, kernel, 1 if number else stride, expansion))
                inside = channels
        scale, shift = torch.tensor(deviation) / DEVIATION, (torch.tensor(mean) - MEAN) / DEVIATION
        self.register_buffer("scale", scale.reshape(3, 1, 1), persistent=False)
        self.register_buffer("shift", shift.reshape(3, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = (x * self.scale + self.shift).contiguous(memory_format=torch.channels_last)  # twice as fast here
        x = self.first(x).clamp_(0, 6)
        found = {"first": x}
        names = {last: name for name, last in TAPS.items()}
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in names:
                found[names[number]] = x
        return {name: level.contiguous() for name, level in found.items()}


class LiteStem(nn.Module):
    """Patch embedding by a backbone, its coarse scales brought together: float [B, 3, S, S] → [B, S/8, S/8, C]."""

    def __init__(self, width: int, mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
        super().__init__()
        self.beside_half, self.beside_quarter = FIRST + 16, 24
        self.backbone = Backbone(mean, deviation)
        self.eighth, self.sixteenth, self.thirty_second = (_projection(inside, width) for inside in (40, 112, 320))
        self.block = convolution(width, width)

    def levels(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Features at a half [B, 48, S/2, S/2], at a quarter [B, 24, S/4, S/4], and the patches."""
        found = self.backbone(x)
        coarse = interpolate(self.thirty_second(found["thirty_second"]), scale_factor=2.0, mode="nearest")
        coarse = interpolate(coarse + self.sixteenth(found["sixteenth"]), scale_factor=2.0, mode="nearest")
        patches = coarse + self.eighth(found["eighth"])
        patches = patches + self.block(patches)
        half = torch.cat([found["first"], found["half"]], 1)
        return half, found["quarter"], patches.permute(0, 2, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.levels(x)[-1]


def _projection(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inside, outside, 1), normal(outside))


def convolution(inside: int, outside: int) -> nn.Sequential:
    """3×3, normalised, GELU."""
    return nn.Sequential(nn.Conv2d(inside, outside, 3, 1, 1), normal(outside), nn.GELU())


def normal(channels: int) -> nn.GroupNorm:
    """Group norm in eight groups, or fewer where there are fewer channels."""
    return nn.GroupNorm(min(GROUPS, channels), channels)
