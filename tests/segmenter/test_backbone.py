"""The backbone's scales and its arithmetic."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv2d, pad

from rsagent.segmenter.architecture import PIXEL_MEAN, PIXEL_STD
from rsagent.segmenter.backbone import TAPS, Backbone, Block, LiteStem, Same


@pytest.fixture(scope="module")
def stem() -> LiteStem:
    torch.manual_seed(0)
    return LiteStem(32, PIXEL_MEAN, PIXEL_STD).eval()


def test_each_scale_is_half_of_the_one_before(stem: LiteStem) -> None:
    found = stem.backbone(torch.zeros(1, 3, 64, 64))
    assert [found[name].shape[-1] for name in TAPS] == [32, 16, 8, 4, 2]


def test_a_stem_gives_patches_and_what_lies_between(stem: LiteStem) -> None:
    half, quarter, patches = stem.levels(torch.randn(2, 3, 64, 64))
    assert half.shape == (2, stem.beside_half, 32, 32)
    assert quarter.shape == (2, stem.beside_quarter, 16, 16)
    assert patches.shape == (2, 8, 8, 32)
    assert stem(torch.zeros(1, 3, 64, 64)).shape == (1, 8, 8, 32)


@pytest.mark.parametrize(("kernel", "before", "after"), [(3, 0, 1), (5, 1, 2)])
def test_a_strided_convolution_pads_as_tensorflow_does(kernel: int, before: int, after: int) -> None:
    torch.manual_seed(0)
    layer, x = Same(2, 3, kernel, stride=2), torch.randn(1, 2, 12, 12)
    wanted = conv2d(pad(x, (before, after, before, after)), layer.conv.weight, layer.conv.bias, stride=2)
    torch.testing.assert_close(layer(x), wanted)
    assert layer(x).shape[-1] == 6


def test_a_block_that_keeps_its_shape_adds_to_its_input() -> None:
    block = Block(4, 4, 3, 1, 2)
    for parameter in block.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn(1, 4, 6, 6)
    assert torch.equal(block(x), x)
    assert not Block(4, 6, 3, 1, 2).skips


def test_the_range_of_the_input_is_the_published_one() -> None:
    """Normalised as SAM has it in, as the published weights want it to the first convolution: (value - 127) / 128."""
    backbone = Backbone(PIXEL_MEAN, PIXEL_STD)
    seen: list[torch.Tensor] = []
    backbone.first.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    pixels = torch.tensor([0.0, 127.0, 255.0]).reshape(1, 3, 1, 1).expand(1, 3, 32, 32)
    mean, deviation = (torch.tensor(v).reshape(3, 1, 1) for v in (PIXEL_MEAN, PIXEL_STD))
    backbone((pixels - mean) / deviation)
    torch.testing.assert_close(seen[0][0, :, 0, 0], torch.tensor([-127 / 128, 0.0, 1.0]), atol=1e-5, rtol=0)
