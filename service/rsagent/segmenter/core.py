"""SAM as two functions without state: an image to its embedding, prompts of any images to their masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image as Pictures
from torch.nn.functional import interpolate

from rsagent.errors import BadRequest
from rsagent.segmenter.architecture import Sam
from rsagent.segmenter.decoding import PromptBatch, decode
from rsagent.segmenter.details import levels_of
from rsagent.segmenter.protocol import Image, Logits, MaskCandidate, Prompt


@dataclass(frozen=True)
class InputFrame:
    """How an image of `height` × `width` px lies in the model's square input: scaled to `input_*`, top left."""

    height: int
    width: int
    input_height: int
    input_width: int

    @classmethod
    def of(cls, height: int, width: int, side: int) -> InputFrame:
        """`ResizeLongestSide.get_preprocess_shape`: the longer side becomes `side`, halves round up.

        The shorter one is at least 1 px, where SAM makes it 0 and fails: a zoom may be very thin.
        """
        scale = side / max(height, width)
        return cls(height, width, max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))

    def to_input(self, xy: np.ndarray) -> np.ndarray:
        """Original-image pixels [..., 2] → the model's input pixels, float64."""
        return xy.astype(np.float64) * [self.input_width / self.width, self.input_height / self.height]


@dataclass(frozen=True)
class Embedding:
    """What the encoder made of an image: `levels` float32 [C, g, g] and, where the model has details, finer ones."""

    levels: tuple[torch.Tensor, ...]
    frame: InputFrame

    @property
    def nbytes(self) -> int:
        return sum(level.nbytes for level in self.levels)


@dataclass(frozen=True)
class LowResCandidate:
    """A mask not brought to the image's size: upscaling costs as much as decoding, and only the best is looked at."""

    logits: Logits
    score: float


@dataclass(frozen=True)
class Decoded:
    """Candidates best first; the first one also as a mask of the image's size."""

    best: MaskCandidate
    candidates: tuple[LowResCandidate, ...]


def ambiguous(prompt: Prompt) -> bool:
    """Whether several masks would fit, so that SAM's three outputs are asked for and the best taken: a lone point or
    a lone box.  Several hints together mean one thing, for which SAM has its single-mask output."""
    return prompt.base_logits is None and len(prompt.points) + (prompt.box is not None) == 1


class SamCore:
    """One model, in evaluation mode.  Calls hold no state and may come from several threads.

    It computes on `device`, where embeddings stay, too; with `half`, the transformers compute in bfloat16 (positions,
    embeddings and logits are float32 all the same).
    """

    def __init__(self, model: Sam, device: torch.device | str = "cpu", *, half: bool = False) -> None:
        self._device, self._half = torch.device(device), half
        self._model = model.eval().requires_grad_(False).to(self._device)
        self.side: int = model.image_encoder.img_size
        self.mask_side: int = model.prompt_encoder.mask_input_size[0]
        with torch.inference_mode():
            self._positions = model.prompt_encoder.get_dense_pe()

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._device

    @torch.inference_mode()
    def encode(self, image: Image) -> Embedding:
        """Embed a uint8 RGB image [H, W, 3], prepared exactly as `SamPredictor.set_image` does."""
        frame = InputFrame.of(image.shape[0], image.shape[1], self.side)
        size = (frame.input_width, frame.input_height)
        small = np.array(Pictures.fromarray(image).resize(size, Pictures.Resampling.BILINEAR))
        pixels = torch.from_numpy(small).to(self._device).permute(2, 0, 1)[None]
        features = self.features(self._model.preprocess(pixels))
        # Apart once and for all prompts to come; a view of a packed one would keep its memory as well.
        levels = levels_of(self._model.mask_decoder, features)
        return Embedding(tuple(level[0].clone() for level in levels), frame)

    @torch.inference_mode()
    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embeddings float32 [B, C, g, g] of prepared images, float32 [B, 3, side, side]."""
        with self._precision():
            features: torch.Tensor = self._model.image_encoder(pixels)
        return features.float()

    @torch.inference_mode()
    def decode(self, requests: Sequence[tuple[Embedding, Prompt]]) -> list[Decoded]:
        """Masks for prompts of any images, in order.

        Prompts with the same hints go through the decoder together, whatever their images; the result is that of
        decoding each alone.  Raises BadRequest for a prompt without any hint or with logits of another model.
        """
        groups: dict[tuple[bool, int], list[int]] = {}
        for row, (_, prompt) in enumerate(requests):
            self.check(prompt)
            groups.setdefault((prompt.box is not None, len(prompt.points)), []).append(row)
        answers: dict[int, Decoded] = {}
        for rows in groups.values():
            answers.update(zip(rows, self._decode_alike([requests[row] for row in rows]), strict=True))
        return [answers[row] for row in range(len(requests))]

    def check(self, prompt: Prompt) -> None:
        """Raise BadRequest where the model cannot take the prompt."""
        if prompt.box is None and not prompt.points and prompt.base_logits is None:
            raise BadRequest("a prompt needs a box, a point or an earlier mask")
        shape = (self.mask_side, self.mask_side)
        if prompt.base_logits is not None and prompt.base_logits.shape != shape:
            raise BadRequest(f"base_logits must be the {shape} logits that this segmenter returned")

    def _decode_alike(self, requests: Sequence[tuple[Embedding, Prompt]]) -> list[Decoded]:
        levels = _gathered([embedding for embedding, _ in requests])
        batch = self._batch(requests).to(self._device)
        with self._precision():
            logits, scores = decode(self._model, levels, self._positions, batch)
        logits, scores = logits.float(), scores.float().cpu()
        return [
            self._answer(embedding.frame, prompt, logits[row], scores[row])
            for row, (embedding, prompt) in enumerate(requests)
        ]

    def _batch(self, requests: Sequence[tuple[Embedding, Prompt]]) -> PromptBatch:
        boxes = points = labels = masks = None
        first = requests[0][1]
        if first.box is not None:
            corners = [e.frame.to_input(np.array(p.box).reshape(2, 2)).reshape(4) for e, p in requests]
            boxes = torch.tensor(np.stack(corners), dtype=torch.float32)
        if first.points:
            clicks = np.array([p.points for _, p in requests], np.float64)
            moved = [e.frame.to_input(click[:, :2]) for (e, _), click in zip(requests, clicks, strict=True)]
            points = torch.tensor(np.stack(moved), dtype=torch.float32)
            labels = torch.tensor(clicks[..., 2], dtype=torch.int64)
        carried = [p.base_logits for _, p in requests]
        has_mask = torch.tensor([m is not None for m in carried])
        if any(m is not None for m in carried):
            blank = np.zeros((self.mask_side, self.mask_side), np.float32)
            masks = torch.from_numpy(np.stack([blank if m is None else m for m in carried])).float()[:, None]
        return PromptBatch(boxes, points, labels, masks, has_mask)

    def _answer(self, frame: InputFrame, prompt: Prompt, logits: torch.Tensor, scores: torch.Tensor) -> Decoded:
        outputs = slice(1, None) if ambiguous(prompt) else slice(0, 1)
        logits, scores = logits[outputs], scores[outputs]
        order = scores.argsort(descending=True)
        ranked = tuple(LowResCandidate(logits[i].cpu().numpy().copy(), float(scores[i])) for i in order)
        mask = self.upscale(logits[order[0]], frame) > self._model.mask_threshold
        return Decoded(MaskCandidate(mask.cpu().numpy(), ranked[0].logits, ranked[0].score), ranked)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._half)

    def upscale(self, logits: torch.Tensor, frame: InputFrame) -> torch.Tensor:
        """Low-resolution logits [h, w] → logits [H, W] of the image, as `Sam.postprocess_masks`."""
        square = interpolate(logits[None, None], (self.side, self.side), mode="bilinear", align_corners=False)
        inside = square[..., : frame.input_height, : frame.input_width]
        whole = interpolate(inside, (frame.height, frame.width), mode="bilinear", align_corners=False)
        return whole[0, 0]


def _gathered(embeddings: Sequence[Embedding]) -> list[torch.Tensor]:
    """Of each prompt the levels of its own image, [B, C, g, g] and finer; of one image for all only a view."""
    first, count = embeddings[0], len(embeddings)
    if all(embedding is first for embedding in embeddings):
        return [level.expand(count, -1, -1, -1) for level in first.levels]
    return [torch.stack(own) for own in zip(*(embedding.levels for embedding in embeddings), strict=True)]
