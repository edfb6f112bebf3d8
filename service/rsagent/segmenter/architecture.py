"""Sizes of a SAM, and the model built from them out of `segment_anything`'s own modules.

One deliberate divergence: with `stem > 0` the patch embedding is three strided 3×3 convolutions instead of one 8×8
one ("Early convolutions help transformers see better", arXiv 2106.14881).  A model trained for an hour on one core
does not learn edges from flat patches; everything after the stem is `ImageEncoderViT` as it is.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from rsagent import _torchvision

_torchvision.prepare()

from segment_anything.modeling import (  # noqa: E402
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    TwoWayTransformer,
)
from segment_anything.modeling import Sam as Sam  # noqa: E402

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Architecture:
    """Sizes of one SAM.  `stem` is the width of the convolutional stem, 0 for SAM's plain patch embedding."""

    image_size: int
    patch_size: int
    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    window: int
    prompt_width: int = 256
    decoder_mlp: int = 2048
    decoder_heads: int = 8
    relative_positions: bool = True
    stem: int = 0

    @property
    def grid(self) -> int:
        """Side of the square image embedding, in cells."""
        return self.image_size // self.patch_size


class ConvStem(nn.Module):
    """Patch embedding by strided convolutions: float [B, 3, S, S] → [B, S/8, S/8, width]."""

    def __init__(self, stem: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, stem, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(stem, 2 * stem, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * stem, width, 3, stride=2, padding=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layers(x)
        return out.permute(0, 2, 3, 1)


def build(architecture: Architecture) -> Sam:
    """A SAM of these sizes with fresh weights, in evaluation mode."""
    a = architecture
    encoder = ImageEncoderViT(
        img_size=a.image_size,
        patch_size=a.patch_size,
        embed_dim=a.width,
        depth=a.depth,
        num_heads=a.heads,
        mlp_ratio=4,
        out_chans=a.prompt_width,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=a.relative_positions,
        window_size=a.window,
        global_attn_indexes=a.global_blocks,
    )
    if a.stem:
        encoder.patch_embed = ConvStem(a.stem, a.width)
    prompts = PromptEncoder(
        embed_dim=a.prompt_width,
        image_embedding_size=(a.grid, a.grid),
        input_image_size=(a.image_size, a.image_size),
        mask_in_chans=16,
    )
    two_way = TwoWayTransformer(depth=2, embedding_dim=a.prompt_width, num_heads=a.decoder_heads, mlp_dim=a.decoder_mlp)
    decoder = MaskDecoder(num_multimask_outputs=3, transformer=two_way, transformer_dim=a.prompt_width)
    model = Sam(encoder, prompts, decoder, pixel_mean=list(PIXEL_MEAN), pixel_std=list(PIXEL_STD))
    model.eval()
    return model


NANO = Architecture(
    image_size=256,
    patch_size=8,
    width=160,
    depth=6,
    heads=5,
    global_blocks=(2, 5),
    window=8,
    prompt_width=128,
    decoder_mlp=512,
    decoder_heads=4,
    relative_positions=False,
    stem=24,
)
"""The segmenter in the package: 3.1 M parameters, 256 px, masks of 128 × 128."""
