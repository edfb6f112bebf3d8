"""Sizes of a SAM, and the model built from them out of `segment_anything`'s own modules.

Four deliberate divergences, all off for SAM's own sizes and all for a model trained for hours on one core:

1. `detailed`: a pretrained backbone stands before SAM's ViT, and its fine features go to the decoder beside the
   embedding (`backbone`, `details`);
2. `draw_boxes`: the prompt encoder also draws a box as the dense prompt (`DrawingPromptEncoder`);
3. `smooth_decoder`: GELU instead of ReLU in the decoder's transformer;
4. `box_prior`: where the model is not sure, a box is held to be filled as most are (`DrawingPromptEncoder.expected`).

They may go once the nano is trained long enough to do without.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn.functional import pixel_unshuffle

from rsagent import _torchvision

_torchvision.prepare()

from segment_anything.modeling import (  # noqa: E402
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    TwoWayTransformer,
)
from segment_anything.modeling import Sam as Sam  # noqa: E402

from rsagent.segmenter.backbone import LiteStem  # noqa: E402
from rsagent.segmenter.details import DetailedDecoder, DetailedEncoder  # noqa: E402

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Architecture:
    """Sizes of one SAM, and what it has beside SAM's own parts."""

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
    detailed: bool = False
    draw_boxes: bool = False
    smooth_decoder: bool = False
    box_prior: float = 0.0

    @property
    def grid(self) -> int:
        """Side of the square image embedding, in cells."""
        return self.image_size // self.patch_size


class DrawingPromptEncoder(PromptEncoder):  # type: ignore[misc]
    """SAM's prompt encoder, which in addition draws a box as a low-resolution mask where no earlier mask is given.

    SAM tells a box by two corner tokens alone, and the decoder has to learn from millions of them what lies between.
    With a `prior`, the dense prompt has 16 more channels: what is expected of the box, for `details.predict` to add to
    the logits. There it passes through `SamPredictor` as well, which knows nothing of it.
    """

    prior: float = 0.0

    def forward(
        self,
        points: tuple[torch.Tensor, torch.Tensor] | None,
        boxes: torch.Tensor | None,
        masks: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `PromptEncoder.forward`: boxes float32 [B, 4] (or [B, 1, 4], as `SamPredictor` has it) in input px."""
        lone = boxes if masks is None else None
        sparse, dense = super().forward(points, boxes, masks if lone is None else self.drawn(lone))
        if self.prior:
            blank = dense.new_zeros((len(dense), 1, *self.mask_input_size))
            dense = torch.cat([dense, pixel_unshuffle(blank if lone is None else self.expected(lone), 4)], 1)
        return sparse, dense

    def drawn(self, boxes: torch.Tensor) -> torch.Tensor:
        """Cells to the nearest edge, positive inside, within ±8: float32 [B, 1, h, w]."""
        (x1, y1, x2, y2), (xs, ys) = self._cells(boxes)
        across, down = torch.minimum(xs - x1, x2 - xs), torch.minimum(ys - y1, y2 - ys)
        return torch.minimum(across, down).clamp(-8, 8).unsqueeze(1)

    def expected(self, boxes: torch.Tensor) -> torch.Tensor:
        """`prior` in the middle of a box, falling to 0 at a rounded square in it and to -`prior` far outside.

        float32 [B, 1, h, w], to be added to logits. |x|³ + |y|³ = 1 lies between the ellipse and the box: on
        photographs it is as near to a thing's outline as either.
        """
        (x1, y1, x2, y2), (xs, ys) = self._cells(boxes)
        across = (2 * xs - x1 - x2).abs() / (x2 - x1).clamp(min=0.5)
        down = (2 * ys - y1 - y2).abs() / (y2 - y1).clamp(min=0.5)
        distance = (across**3 + down**3) ** (1 / 3)
        return self.prior * (1 - distance).clamp(min=-1).unsqueeze(1)

    def _cells(self, boxes: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, torch.Tensor]]:
        """Edges of boxes [B, 1, 1] and the middles of cells, all in cells of the low-resolution mask."""
        height, width = self.mask_input_size
        scale = width / self.input_image_size[1]
        edges = (boxes.float() * scale).reshape(-1, 4, 1, 1).unbind(1)
        xs = torch.arange(width, device=boxes.device)[None, None] + 0.5
        ys = torch.arange(height, device=boxes.device)[None, :, None] + 0.5
        return edges, (xs, ys)


def build(architecture: Architecture) -> Sam:
    """A SAM of these sizes with fresh weights, in evaluation mode."""
    a = architecture
    encoder = (DetailedEncoder if a.detailed else ImageEncoderViT)(
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
    if a.detailed:
        encoder.look_closer(LiteStem(a.width, PIXEL_MEAN, PIXEL_STD), a.prompt_width)
    prompts = (DrawingPromptEncoder if a.draw_boxes else PromptEncoder)(
        embed_dim=a.prompt_width,
        image_embedding_size=(a.grid, a.grid),
        input_image_size=(a.image_size, a.image_size),
        mask_in_chans=16,
    )
    if a.draw_boxes:
        prompts.prior = a.box_prior
    two_way = TwoWayTransformer(
        depth=2,
        embedding_dim=a.prompt_width,
        num_heads=a.decoder_heads,
        mlp_dim=a.decoder_mlp,
        # Under a high learning rate nine in ten of its ReLUs died within minutes, and the decoder with them.
        activation=nn.GELU if a.smooth_decoder else nn.ReLU,
    )
    kind = DetailedDecoder if a.detailed else MaskDecoder
    decoder = kind(num_multimask_outputs=3, transformer=two_way, transformer_dim=a.prompt_width)
    if a.detailed:
        decoder.look_closer()
    model = Sam(encoder, prompts, decoder, pixel_mean=list(PIXEL_MEAN), pixel_std=list(PIXEL_STD))
    model.eval()
    return model


NANO = Architecture(
    image_size=448,
    patch_size=8,
    width=128,
    depth=3,
    heads=4,
    global_blocks=(2,),
    window=8,
    prompt_width=128,
    decoder_mlp=512,
    decoder_heads=4,
    relative_positions=False,
    detailed=True,
    draw_boxes=True,
    smooth_decoder=True,
    box_prior=2.5,
)
"""The segmenter in the package: 448 px, masks of 224 × 224."""
