"""What a grid of 8 px cells is too coarse for: outlines, which the decoder gets from finer features of the image.

As in HQ-SAM (arXiv 2306.01567) and SAM 2 (arXiv 2408.00714), features at a half and a quarter of the input's side go
past the transformer straight into the upscaling. Three things are our own, for a model that is trained for hours on
one core:

1. the fine features are made top-down (arXiv 1612.03144), so that they know what the coarse ones found out;
2. a few small convolutions see the prompt and its neighbourhood together, before and after the upscaling;
3. the embedding stays one tensor: finer cells lie in further channels of the coarse grid (`packed`, `unpacked`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import interpolate, pixel_shuffle, pixel_unshuffle, scaled_dot_product_attention

from rsagent import _torchvision

_torchvision.prepare()

from segment_anything.modeling import ImageEncoderViT, MaskDecoder  # noqa: E402
from segment_anything.modeling.image_encoder import Attention  # noqa: E402

from rsagent.segmenter.backbone import LiteStem, convolution, normal  # noqa: E402
from rsagent.segmenter.twoway import attend  # noqa: E402

LAST = 1e-2
"""What the last layer of each branch is scaled by at first, so that the model starts as one without the branch."""


def packed(coarse: torch.Tensor, quarter: torch.Tensor, half: torch.Tensor) -> torch.Tensor:
    """[B, C, g, g], [B, D, 2g, 2g] and [B, E, 4g, 4g] as one tensor [B, C + 4 D + 16 E, g, g]."""
    return torch.cat([coarse, pixel_unshuffle(quarter, 2), pixel_unshuffle(half, 4)], dim=1)


def unpacked(embeddings: torch.Tensor, coarse: int, quarter: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What `packed` was given: `coarse` and `quarter` are its channels C and D."""
    rest = embeddings.shape[1] - coarse - 4 * quarter
    first, second, third = torch.split(embeddings, [coarse, 4 * quarter, rest], dim=1)
    return first, pixel_shuffle(second, 2), pixel_shuffle(third, 4)


class Merge(nn.Module):
    """A coarse level [B, inside, h, w] and the finer `lateral` one [B, beside, 2h, 2w] → [B, outside, 2h, 2w]."""

    def __init__(self, inside: int, beside: int, outside: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(inside, outside, 1)
        self.across = nn.Conv2d(beside, outside, 1)
        self.both = convolution(outside, outside)

    def forward(self, coarse: torch.Tensor, lateral: torch.Tensor) -> torch.Tensor:
        above = interpolate(self.down(coarse), scale_factor=2.0, mode="nearest")
        merged: torch.Tensor = self.both(above + self.across(lateral))
        return merged


class FusedAttention(Attention):  # type: ignore[misc]
    """SAM's attention without relative positions, never writing down all pairs: and three times as fast."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float [B, h, w, C] → the same shape."""
        count, height, width, channels = x.shape
        parts = self.qkv(x).reshape(count, height * width, 3, self.num_heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(query, key, value, scale=self.scale)
        out: torch.Tensor = self.proj(mixed.transpose(1, 2).reshape(count, height, width, channels))
        return out


class DetailedEncoder(ImageEncoderViT):  # type: ignore[misc]
    """SAM's encoder behind a backbone, whose embedding also holds details as wide as the decoder's upscaling."""

    def look_closer(self, stem: LiteStem, out: int) -> None:
        """Add what SAM's encoder has not; `out` is the embedding's own width."""
        width, half = out // 4, out // 8
        for block in self.blocks:
            if not block.attn.use_rel_pos:
                block.attn = FusedAttention(block.attn.proj.in_features, block.attn.num_heads)
        self.patch_embed = stem
        self.to_quarter = Merge(out, stem.beside_quarter, width)
        self.to_half = Merge(width, stem.beside_half, half)
        self.quarter_out = _small(nn.Conv2d(width, width, 1))
        self.half_out = _small(nn.Conv2d(half, half, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float [B, 3, S, S] → `packed` [B, 4 C, S/8, S/8]: C coarse channels, C of quarters, 2 C of halves."""
        half, quarter, x = self.patch_embed.levels(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        coarse = self.neck(x.permute(0, 3, 1, 2))
        quarter = self.to_quarter(coarse, quarter)
        half = self.to_half(quarter, half)
        return packed(coarse, self.quarter_out(quarter), self.half_out(half))


class Look(nn.Module):
    """x + what convolutions of `width` channels see around each cell, up to `reach` cells away and twice that."""

    def __init__(self, channels: int, width: int, reach: int) -> None:
        super().__init__()
        self.into = nn.Sequential(nn.Conv2d(channels, width, 1), normal(width), nn.GELU())
        self.around = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            normal(width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=reach, dilation=reach),
            normal(width),
            nn.GELU(),
        )
        self.back = _small(nn.Conv2d(width, channels, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + self.back(self.around(self.into(x)))
        return out


class DetailedDecoder(MaskDecoder):  # type: ignore[misc]
    """SAM's mask decoder for the embeddings of a `DetailedEncoder`; its parameters are SAM's and some more."""

    def look_closer(self) -> None:
        """Add what SAM's decoder has not."""
        width = self.transformer_dim
        self.looks = nn.Sequential(Look(width, width // 4, 3), Look(width, width // 4, 2))
        self.polish = Look(width // 4, width // 4, 2)

    def apart(self, embeddings: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The three levels of `packed` embeddings."""
        return unpacked(embeddings, self.transformer_dim, self.transformer_dim // 4)

    def upscaled(self, source: torch.Tensor, quarter: torch.Tensor, half: torch.Tensor) -> torch.Tensor:
        """Decoded cells [B, C, g, g] and their images' details → [B, C/8, 4g, 4g]."""
        first, normalise, bend, second, bend_again = self.output_upscaling
        x = bend(normalise(first(self.looks(source)) + quarter))
        out: torch.Tensor = bend_again(second(self.polish(x)) + half)
        return out

    def predict_masks(
        self,
        image_embeddings: torch.Tensor,
        image_pe: torch.Tensor,
        sparse_prompt_embeddings: torch.Tensor,
        dense_prompt_embeddings: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `MaskDecoder.predict_masks`: all prompts are of one image."""
        count = len(sparse_prompt_embeddings)
        levels = [level.expand(count, -1, -1, -1) for level in self.apart(image_embeddings)]
        return predict(self, levels, image_pe, sparse_prompt_embeddings, dense_prompt_embeddings)


def levels_of(decoder: MaskDecoder, embeddings: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Embeddings [images, C, g, g] as `predict` takes them: the levels of `packed` ones, others as they are."""
    return decoder.apart(embeddings) if isinstance(decoder, DetailedDecoder) else (embeddings,)


def predict(
    decoder: MaskDecoder,
    levels: Sequence[torch.Tensor],
    positions: torch.Tensor,
    sparse: torch.Tensor,
    dense: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [B, 4, h, w] and predicted IoU [B, 4] of all outputs, by the arithmetic of `MaskDecoder.predict_masks`.

    That one repeats a single image for all prompts, this one is given each prompt's own: `levels_of` embeddings, [B, C,
    g, g] and finer. `positions` [1, C, g, g]; prompt embeddings `sparse` [B, tokens, C], `dense` [B, C, g, g], or
    [B, C + 16, g, g], of which the last 16 are `packed` logits [B, 1, 4g, 4g] to be added to all outputs.
    """
    coarse, *details = levels
    count, width = coarse.shape[:2]
    outputs = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight], dim=0)
    tokens = torch.cat([outputs.unsqueeze(0).expand(count, -1, -1), sparse], dim=1)
    hidden, cells = attend(decoder.transformer, coarse + dense[:, :width], positions, tokens)
    source = torch.unflatten(cells.transpose(1, 2), 2, coarse.shape[-2:])
    upscaled = decoder.upscaled(source, *details) if details else decoder.output_upscaling(source)
    mask_tokens = hidden[:, 1 : 1 + decoder.num_mask_tokens]
    hyper = torch.stack([mlp(mask_tokens[:, i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], dim=1)
    logits = (hyper @ upscaled.flatten(2)).unflatten(2, upscaled.shape[-2:])
    if dense.shape[1] > width:
        logits = logits + pixel_shuffle(dense[:, width:], 4)
    return logits, decoder.iou_prediction_head(hidden[:, 0])


def _small(layer: nn.Conv2d) -> nn.Conv2d:
    with torch.no_grad():
        layer.weight.mul_(LAST)
        if layer.bias is not None:
            layer.bias.zero_()
    return layer
