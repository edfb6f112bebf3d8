"""The forward passes of a Qwen-VL model over a cache of ours.

The outer `forward` of transformers re-derives positions, masks and image places from whole prompts. Here the parts
are called themselves (vision tower, embeddings, language model, head), so that a turn runs over its new tokens and
its new images alone. Qwen3-VL also adds features of the tower's earlier layers to the first layers of the language
model ("deepstack"); they travel with the image's features.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rsagent.policy.checkpoint import Checkpoint
from rsagent.policy.kv import Slots
from rsagent.policy.prompt import ImageSpan, Prompt
from rsagent.policy.protocol import ImagePart


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What the vision tower makes of one image: `tokens` [n, d], and the same shape for each deepstack layer."""

    tokens: Tensor
    deepstack: tuple[Tensor, ...]

    @property
    def nbytes(self) -> int:
        return self.tokens.nbytes * (1 + len(self.deepstack))


class Network:
    """A checkpoint's model as two functions: read a prompt's new tokens and images, take a step. One thread's."""

    def __init__(self, checkpoint: Checkpoint, image_cache_bytes: int) -> None:
        self._model = checkpoint.model
        self._processor = checkpoint.image_processor
        self._text = checkpoint.model.config.text_config
        self._device: torch.device = checkpoint.model.device
        self._seen: OrderedDict[str, Features] = OrderedDict()
        self._max_seen_bytes = image_cache_bytes
        self.image_encodes = 0

    @property
    def max_context(self) -> int:
        return int(self._text.max_position_embeddings)

    def slots(self, rows: int) -> Slots:
        """Working memory for `rows` rows of this model."""
        heads = self._text.num_attention_heads
        dim = getattr(self._text, "head_dim", None) or self._text.hidden_size // heads
        shape = (self._text.num_hidden_layers, self._text.num_key_value_heads, dim)
        return Slots(*shape, rows, self._model.dtype, self._device)

    def read(self, prompt: Prompt, start: int, slots: Slots, row: int) -> Tensor:
        """Prefill `prompt` from token `start` on into `row`; the logits [vocabulary] of what comes next."""
        spans = [span for span in prompt.images if span.stop > start]
        ids = prompt.ids[start:].to(self._device)
        embedded = self._model.get_input_embeddings()(ids)
        visual = self._place(embedded, spans, start)
        places, mask = prompt.positions[:, None, start:], self._causal(len(ids), start)
        hidden = self._language(embedded[None], places, mask, slots.append(row, start), visual)
        return self._head(hidden[:, -1])[0]

    def step(self, tokens: list[int], positions: list[int], lengths: list[int], slots: Slots) -> Tensor:
        """One token for each row: its id, its position, the tokens before it. Logits [rows, vocabulary]."""
        embedded = self._model.get_input_embeddings()(torch.tensor(tokens, device=self._device))[:, None]
        before = torch.tensor(lengths, device=self._device)
        mask = torch.arange(max(lengths) + 1, device=self._device) <= before[:, None]
        places = torch.tensor(positions).view(1, -1, 1).expand(3, -1, -1)
        hidden = self._language(embedded, places, mask[:, None, None], slots.step(before), {})
        return self._head(hidden[:, -1])

    def seen(self, uuid: str) -> Features | None:
        """The features kept of an image, if they still are."""
        return self._seen.get(uuid)

    def forget(self) -> None:
        """Drop the features of images seen, as when the weights have changed."""
        self._seen.clear()

    def _language(
        self, embedded: Tensor, positions: Tensor, mask: Tensor, cache: Any, visual: dict[str, Any]
    ) -> Tensor:
        output = self._model.model.language_model(
            inputs_embeds=embedded,
            position_ids=positions.to(self._device),
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            **visual,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def _head(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self._model.lm_head(hidden)
        return logits.float()

    def _causal(self, count: int, start: int) -> Tensor:
        """bool [1, 1, count, start + count]: token i of the new ones sees all up to itself."""
        ends = torch.arange(start, start + count, device=self._device)
        return (torch.arange(start + count, device=self._device) <= ends[:, None])[None, None]

    def _place(self, embedded: Tensor, spans: list[ImageSpan], start: int) -> dict[str, Any]:
        """Write image features over their places in `embedded` [n, d]; the deepstack arguments, where there are any."""
        if not spans:
            return {}
        features = self._look([span.image for span in spans])
        mask = torch.zeros(len(embedded), dtype=torch.bool, device=self._device)
        stacks: list[list[Tensor]] = [[] for _ in features[0].deepstack]
        for span, seen in zip(spans, features, strict=True):
            # A shared prefix may end inside an image's tokens: the rest of its features is placed.
            first = max(span.start, start)
            embedded[first - start : span.stop - start] = seen.tokens[first - span.start :]
            mask[first - start : span.stop - start] = True
            for stack, layer in zip(stacks, seen.deepstack, strict=True):
                stack.append(layer[first - span.start :])
        if not stacks:
            return {}
        return {"visual_pos_masks": mask[None], "deepstack_visual_embeds": [torch.cat(stack) for stack in stacks]}

    def _look(self, images: list[ImagePart]) -> list[Features]:
        """Features of images, those not seen lately through the vision tower."""
        new = {image.uuid: image for image in images if image.uuid not in self._seen}
        found = dict(zip(new, self._encode(list(new.values())), strict=True)) if new else {}
        features = [found.get(image.uuid) or self._seen[image.uuid] for image in images]
        for image, seen in zip(images, features, strict=True):
            self._seen[image.uuid] = seen
            self._seen.move_to_end(image.uuid)
        while self._seen and sum(seen.nbytes for seen in self._seen.values()) > self._max_seen_bytes:
            self._seen.popitem(last=False)
        return features

    def _encode(self, images: list[ImagePart]) -> list[Features]:
        # The views have their size already. The processor's own resize would only repeat `geometry.view_size`.
        inputs = self._processor([image.pixels for image in images], do_resize=False, return_tensors="pt")
        grid = inputs["image_grid_thw"].to(self._device)
        output = self._model.model.get_image_features(inputs["pixel_values"].to(self._device), grid)
        layers = getattr(output, "deepstack_features", None) or []
        self.image_encodes += len(images)
        stacks = zip(*layers, strict=True) if layers else [()] * len(images)
        return [Features(tokens, tuple(stack)) for tokens, stack in zip(output.pooler_output, stacks, strict=True)]
