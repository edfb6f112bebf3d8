"""Drills: "The dog." -> its box, for every object of a picture at once, or a no for a name that is not there.

What the language model must find first is how to look a name up among the image tokens and read its box. A drill
is a third of a lesson's length, so it gives many look-ups for the price of one reading of the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rsagent.training.policy.album import Album, Batch
from rsagent.training.policy.beginnings import number_axes
from rsagent.training.policy.dense import (
    FEATURES,
    GRID,
    IGNORE,
    bin_places,
    box_iou,
    smooth_features,
    targets_of,
)
from rsagent.training.policy.grounding import (
    READERS,
    Answered,
    Prefix,
    looks_beside,
    spelled_boxes,
    watched,
)
from rsagent.training.policy.lessons import Scribe
from rsagent.training.policy.reader import causal, read
from rsagent.training.policy.shape import TEXT
from rsagent.training.policy.tower import encode
from rsagent.training.synthesis import wording
from rsagent.training.world.names import clashes

CALL = '{"name": "segment", "arguments": {"bbox_2d": ['


@torch.no_grad()
def read_out(model: Any, album: Album) -> None:
    """Start the even heads of the first reader as readers of boxes: group g carries coordinate g of the object under
    the image token that it attends to.

    The map from a token to the features of a coordinate is ridge regression over the objects of some scenes, cut to
    the rank of a head; it is written into that group's value and output matrices.
    """
    batch = next(album.batches(192, seed=9, crowded=1.0))
    targets = targets_of(batch)
    merged = encode(model.model.visual, torch.from_numpy(batch.images), deepstack=False).merged[targets.has]
    x = functional.rms_norm(merged, (TEXT,))
    attention = model.model.language_model.layers[READERS[0]].self_attn
    width = attention.head_dim
    gram = x.T @ x + 0.01 * len(x) * torch.eye(TEXT)
    for group in range(4):
        told = smooth_features(targets.boxes[targets.has][:, group] * 999, FEATURES)
        linear = torch.linalg.solve(gram, x.T @ (told - told.mean(0)))
        left, size, right = torch.linalg.svd(linear.T, full_matrices=False)
        root = size[:width].sqrt()
        attention.v_proj.weight[group * width : (group + 1) * width] = root[:, None] * right[:width]
        head = slice(2 * group * width, (2 * group + 1) * width)
        attention.o_proj.weight[:, head] = number_axes().T @ (left[:, :width] * root)


ABSENT = 3


@dataclass(frozen=True)
class Drilled:
    """Ids, labels and spots [K, L] of a batch's drills; of each the picture [K], the name [K], and the cells of its
    object (bool [K, cells], none where it is absent)."""

    ids: Tensor
    labels: Tensor
    spots: Tensor
    pictures: Tensor
    names: Tensor
    cells: Tensor


class Drills:
    """Writes the drills of a batch: every object whose name stands alone, and some names that are not there."""

    def __init__(self, scribe: Scribe, names: Sequence[str], ground: Callable[[int], Set[int]]) -> None:
        """`ground` tells which names the photograph under the scene of a seed shows."""
        self.ground, self.numbers, encode_text = ground, scribe.numbers.tolist(), scribe.tokenizer.encode
        self.heads = [encode_text(f"<think>{wording.seek(name)}") for name in names]
        self.no = encode_text(f"<think>{wording.absent('dog')}")[len(encode_text(f"<think>{wording.seek('dog')}")) :][0]
        self.comma, self.tail = encode_text(", 8")[0], encode_text("</think><tool_call>" + CALL)

    def here(self, name: int, box: Any, width: int, height: int) -> tuple[list[int], list[int], list[bool]]:
        """Ids, labels and spots of one object's drill; `box` in pixels."""
        head = self.heads[name]
        bins = np.round(np.asarray(box) / (width, height, width, height) * (999 / GRID)).astype(int).clip(0, 125)
        ids, spots = [*head, *self.tail], [False] * (len(head) + len(self.tail))
        start = len(head)
        for number in bins:
            ids += [self.numbers[number], self.comma]
            spots += [True, False]
        labels = [IGNORE] * (start - 1) + ids[start:-1]
        return ids[:-2], labels[: len(ids) - 2], spots[1 : len(ids) - 1]

    def gone(self, name: int) -> tuple[list[int], list[int], list[bool]]:
        """The drill of a name that is not there: what follows it is a no."""
        head = self.heads[name]
        return head, [IGNORE] * (len(head) - 1) + [self.no], [False] * len(head)

    def absent(self, batch: Batch, row: int, rng: np.random.Generator) -> Iterator[int]:
        """Names that are neither on a scene nor in its ground, nor like anything that is."""
        shown = {int(name) for name in batch.names[row] if name >= 0} | self.ground(batch.seeds[row])
        for name in rng.integers(len(self.heads), size=ABSENT).tolist():
            if name not in shown and not clashes()[name] & shown:
                yield name

    def batch(self, batch: Batch, which: Tensor, rng: np.random.Generator) -> Drilled:
        """The drills of a batch; `which` [B, cells]: the object that each cell shows, as `Targets` has it."""
        height, width = batch.images.shape[1:3]
        rows, pictures, asked, cells = [], [], [], []
        for row, names in enumerate(batch.names):
            for index, name in enumerate(names):
                if name >= 0 and (names == name).sum() == 1:
                    rows.append(self.here(int(name), batch.boxes[row, index], width, height))
                    pictures.append(row)
                    asked.append(int(name))
                    cells.append(which[row] == index)
            for name in self.absent(batch, row, rng):
                rows.append(self.gone(name))
                pictures.append(row)
                asked.append(name)
                cells.append(torch.zeros_like(which[row], dtype=torch.bool))
        ids, labels, spots = (
            nn.utils.rnn.pad_sequence([torch.tensor(r[part]) for r in rows], batch_first=True, padding_value=fill)
            for part, fill in ((0, 0), (1, IGNORE), (2, False))
        )
        return Drilled(ids, labels, spots.bool(), torch.tensor(pictures), torch.tensor(asked), torch.stack(cells))


@dataclass(frozen=True)
class Sought:
    """Places where a name was being looked for: states [M, T] as they come in to the first reader, and the names."""

    states: Tensor
    names: Tensor


def drill(model: Any, scribe: Scribe, drilled: Drilled, prefix: Prefix) -> tuple[Answered, Sought]:
    """Look all names up in the pictures of `prefix`."""
    language, length = model.model.language_model, drilled.ids.shape[1]
    mine = tuple((key[drilled.pictures], value[drilled.pictures]) for key, value in prefix.past)
    places = (prefix.start + torch.arange(length)).expand(3, len(drilled.ids), -1)
    watch = watched()
    taps: dict[int, list[Tensor]] = {READERS[0]: []}
    mask = causal(length, prefix.past[0][0].shape[2])
    states, _ = read(language, language.embed_tokens(drilled.ids), places, mask, mine, watch=watch, taps=taps)
    wanted = drilled.labels != IGNORE
    beside = looks_beside(watch, scribe.first, drilled.cells, wanted)
    owner = torch.arange(len(drilled.ids))[:, None].expand_as(drilled.labels)
    sought = Sought(taps[READERS[0]][0][wanted], drilled.names[owner[wanted]])
    return Answered(states[wanted], drilled.labels[wanted], drilled.spots[wanted], owner[wanted], beside), sought


@torch.no_grad()
def told_apart(model: Any, drills: Drills, answered: Answered) -> dict[str, float]:
    """Share of names that are there and not refused, and of absent ones that are."""
    opened = torch.cat([answered.owner.new_ones(1).bool(), answered.owner[1:] != answered.owner[:-1]])
    no = model.lm_head(answered.states[opened].float()).argmax(-1) == drills.no
    absent = answered.labels[opened] == drills.no
    return {"here": 1 - float(no[~absent].float().mean()), "gone": float(no[absent].float().mean())}


@torch.no_grad()
def looked_up(model: Any, scribe: Scribe, answered: Answered) -> float:
    """Mean IoU of the boxes told, each coordinate given the right ones before it."""
    logits = model.lm_head(answered.states[answered.spots].float())[:, scribe.numbers]
    ours = bin_places()[logits.argmax(-1)].view(-1, 4) * (GRID / 999)
    return float(box_iou(ours, spelled_boxes(answered.labels[answered.spots].view(-1, 4), scribe)).mean())
