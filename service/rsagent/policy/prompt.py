"""From a history to what the network reads: token ids, their places in time and space, and where images go."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsagent.errors import PolicyError
from rsagent.policy.chat import images_of, template_messages
from rsagent.policy.checkpoint import Checkpoint
from rsagent.policy.kv import Keys
from rsagent.policy.protocol import History, ImagePart


@dataclass(frozen=True, slots=True, eq=False)
class ImageSpan:
    """Tokens `start` … `stop`-1 are those of `image`."""

    image: ImagePart
    start: int
    stop: int


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """`ids` int64 [n]; `keys` int64 [n] name the tokens for the prefix cache; `positions` int64 [3, n] are M-RoPE's
    (time, row, column); `next_position` is that of the first sampled token, on all three axes."""

    ids: Tensor
    keys: Keys
    positions: Tensor
    images: tuple[ImageSpan, ...]
    next_position: int

    def __len__(self) -> int:
        return len(self.keys)


class PromptEncoder:
    """Writes prompts for one checkpoint. One thread's: fast tokenizers lend themselves to one caller at a time."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._tokenizer = checkpoint.tokenizer
        self._network: Any = checkpoint.model.model
        config = checkpoint.model.config
        self._image_token = int(config.image_token_id)
        self._patch = int(config.vision_config.patch_size)
        self._merge = int(config.vision_config.spatial_merge_size)

    def encode(self, history: History) -> Prompt:
        """The prompt that asks for the next assistant turn. Raises PolicyError if it fits no picture to a place."""
        text = self._tokenizer.apply_chat_template(
            template_messages(history), tokenize=False, add_generation_prompt=True
        )
        ids = self._tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
        return self._lay_out(ids, images_of(history))

    def _lay_out(self, ids: list[int], images: tuple[ImagePart, ...]) -> Prompt:
        places = [place for place, token in enumerate(ids) if token == self._image_token]
        if len(places) != len(images):
            raise PolicyError(f"the chat template places {len(places)} of {len(images)} images; check the template")
        grids = [self._grid(image) for image in images]
        tokens: list[int] = []
        spans: list[ImageSpan] = []
        done = 0
        for place, image, (rows, columns) in zip(places, images, grids, strict=True):
            tokens += ids[done:place]
            count = rows * columns // self._merge**2
            spans.append(ImageSpan(image, len(tokens), len(tokens) + count))
            tokens += [self._image_token] * count
            done = place + 1
        tokens += ids[done:]
        return self._prompt(tokens, tuple(spans), grids)

    def _prompt(self, tokens: list[int], spans: tuple[ImageSpan, ...], grids: list[tuple[int, int]]) -> Prompt:
        ids = torch.tensor(tokens, dtype=torch.long)
        positions = self._positions(ids, grids)
        return Prompt(ids, name_tokens(tokens, spans), positions, spans, int(positions.max()) + 1)

    def _positions(self, ids: Tensor, grids: list[tuple[int, int]]) -> Tensor:
        kinds = (ids == self._image_token).int()
        thw = torch.tensor([(1, rows, columns) for rows, columns in grids]) if grids else None
        positions, _ = self._network.get_rope_index(ids[None], mm_token_type_ids=kinds[None], image_grid_thw=thw)
        laid: Tensor = positions[:, 0]
        return laid

    def _grid(self, image: ImagePart) -> tuple[int, int]:
        """Patches down and across."""
        height, width = image.pixels.shape[:2]
        factor = self._patch * self._merge
        if height % factor or width % factor:
            raise PolicyError(f"a view of {width} × {height} px does not fit this policy; size it with its ViewSpec")
        return height // self._patch, width // self._patch


def name_tokens(tokens: list[int], spans: tuple[ImageSpan, ...]) -> Keys:
    """Names for the prefix cache: two prompts share a token when its id, or the image it stands for, is the same."""
    keys = np.array(tokens, dtype=np.int64)
    for span in spans:
        digest = hashlib.blake2b(span.image.uuid.encode(), digest_size=8).digest()
        keys[span.start : span.stop] = -1 - (int.from_bytes(digest, "big") >> 1)
    return keys
