"""A Qwen-VL model over whole passages: the chances it gives to the tokens that are to be learned.

As in `policy/network.py`, the parts of the model are called themselves: each picture is encoded once, whatever number
of passages shows it, and the head runs over the learned tokens alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rsagent.policy.checkpoint import Checkpoint
from rsagent.policy.protocol import ImagePart
from rsagent.training.chat.passage import Passage

Features = tuple[Tensor, ...]
"""What the tower makes of a picture: [n, d] for its tokens, and the same for each deepstack layer."""
Known = Callable[[str], Features | None]


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """Of every learned token of some passages, in order: `logprobs` float32 [N] under the model (with gradients where
    they are on), `entropy` float32 [N] of the distribution it was taken from (without), `owner` int64 [N]: the
    passage it is of."""

    logprobs: Tensor
    entropy: Tensor
    owner: Tensor


class Reader:
    """Reads passages with a checkpoint's model.

    With `tower` False the vision tower is not trained, and what it made of a picture is kept until `forget`; `known`
    may give what the sampler already made of it, by the picture's uuid.
    """

    def __init__(self, checkpoint: Checkpoint, *, tower: bool = False, known: Known = lambda _: None) -> None:
        self._model = checkpoint.model
        self._processor = checkpoint.image_processor
        self._image_token = int(checkpoint.model.config.image_token_id)
        self._tower, self._known = tower, known
        self._seen: dict[str, Features] = {}

    def forget(self, but: Collection[str] = ()) -> None:
        """Drop what is kept of pictures, `but` of these (their uuids)."""
        self._seen = {uuid: features for uuid, features in self._seen.items() if uuid in but}

    def tell(self, passages: Sequence[Passage], temperature: float = 1.0) -> Told:
        """The chances of the passages' learned tokens at a temperature, each given all before it."""
        device = self._model.device
        ids, learn = _padded([p.ids for p in passages]), _padded([p.learn for p in passages])
        places = torch.stack([_padded([p.positions[axis] for p in passages]) for axis in range(3)])
        # What pads stands at the right, where no causal attention looks.
        shown = (ids == self._image_token) & ~learn  # a sampled word may be that token, too, and shows nothing
        images = [image for p in passages for image in p.images]
        states = self._states(ids.to(device), places.to(device), shown.to(device), images)
        at = learn[:, 1:].to(device)
        logits = self._model.lm_head(states[:, :-1][at]).float() / temperature
        logprobs = torch.log_softmax(logits, dim=-1)
        said = logprobs.gather(1, ids[:, 1:].to(device)[at][:, None])[:, 0]
        with torch.no_grad():
            entropy = -(logprobs.exp() * logprobs).sum(-1)
        owner = torch.arange(len(passages), device=device)[:, None].expand_as(at)[at]
        return Told(said, entropy, owner)

    def _states(self, ids: Tensor, places: Tensor, at: Tensor, images: list[ImagePart]) -> Tensor:
        """The last layer's states [B, n, d]; the pictures' tokens stand where `at` bool [B, n] says."""
        x = self._model.get_input_embeddings()(ids)
        visual: dict[str, Any] = {}
        if images:
            tokens, *stacks = (torch.cat(layer) for layer in zip(*self._look(images), strict=True))
            x = x.masked_scatter(at[..., None], tokens.to(x.dtype))
            if stacks:
                visual = {"visual_pos_masks": at, "deepstack_visual_embeds": stacks}
        output = self._model.model.language_model(inputs_embeds=x, position_ids=places, use_cache=False, **visual)
        states: Tensor = output.last_hidden_state
        return states

    def _look(self, images: list[ImagePart]) -> list[Features]:
        """Each picture's features; one that comes twice is encoded once."""
        seen = {} if self._tower else self._seen
        if not self._tower:
            for image in images:
                if image.uuid not in seen and (kept := self._known(image.uuid)) is not None:
                    # A copy: what inference mode computed may not enter a graph.
                    seen[image.uuid] = tuple(layer.clone() for layer in kept)
        new = list({image.uuid: image for image in images if image.uuid not in seen}.values())
        if new:
            with torch.set_grad_enabled(self._tower and torch.is_grad_enabled()):
                seen.update(zip((image.uuid for image in new), self._encode(new), strict=True))
        return [seen[image.uuid] for image in images]

    def _encode(self, images: list[ImagePart]) -> list[Features]:
        inputs = self._processor([image.pixels for image in images], do_resize=False, return_tensors="pt")
        device = self._model.device
        output = self._model.model.get_image_features(
            inputs["pixel_values"].to(device), inputs["image_grid_thw"].to(device)
        )
        counts = [len(tokens) for tokens in output.pooler_output]
        layers = [torch.split(layer, counts) if isinstance(layer, Tensor) else layer for layer in _deepstack(output)]
        return list(zip(output.pooler_output, *layers, strict=True))


def _deepstack(output: Any) -> list[Any]:
    return list(getattr(output, "deepstack_features", None) or [])


def _padded(rows: Sequence[Tensor]) -> Tensor:
    """Rows of any lengths as one [B, longest] tensor, zeros at the right."""
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
