"""Drills, before stage B: "The dog." -> its box, for every object of a picture at once, the tower at rest.

What the language model must find first is how to look a name up among the image tokens and read its box. A drill
is a third of a lesson's length and needs no tower backwards, so it gives five times as many look-ups a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
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
    DenseHeads,
    bin_places,
    box_iou,
    dense_losses,
    dense_targets,
    smooth_features,
)
from rsagent.training.policy.grounding import (
    Answered,
    GroundingPlan,
    GroundingTrainer,
    SoftNumbers,
    language_losses,
    read_prefix,
    spelled_boxes,
)
from rsagent.training.policy.lessons import Scribe
from rsagent.training.policy.optimise import Optimiser, factor_at
from rsagent.training.policy.reader import causal, read
from rsagent.training.policy.run import Run
from rsagent.training.policy.shape import CELL, TEXT
from rsagent.training.policy.tower import Seen, encode
from rsagent.training.policy.vision import WEIGHTS, jitter, wear
from rsagent.training.policy.wording import the

CALL = '{"name": "segment", "arguments": {"bbox_2d": ['


READER = 2


@torch.no_grad()
def read_out(model: Any, album: Album) -> None:
    """Start the even heads of layer `READER` as readers of boxes: group g carries coordinate g of the object under
    the image token that it attends to.

    The map from a token to the features of a coordinate is ridge regression over the objects of some scenes, cut to
    the rank of a head; it is written into that group's value and output matrices.
    """
    batch = next(album.batches(192, seed=9, crowded=1.0))
    targets = dense_targets(*(torch.from_numpy(part) for part in (batch.owner, batch.names, batch.boxes)))
    merged = encode(model.model.visual, torch.from_numpy(batch.images), deepstack=False).merged[targets.has]
    x = functional.rms_norm(merged, (TEXT,))
    attention = model.model.language_model.layers[READER].self_attn
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


@dataclass(frozen=True)
class DrillPlan:
    """How the drills go."""

    minutes: float = 8.0
    batch: int = 8
    lr: float = 1e-3
    crowded: float = 0.6
    sigma: float = 1.5
    seed: int = 0
    report: int = 50


class Drills:
    """Writes the drills of a batch: ids, labels and spots [B * K, L], K the most objects of a picture."""

    def __init__(self, scribe: Scribe, names: tuple[str, ...]) -> None:
        self.names, self.numbers, encode_text = names, scribe.numbers.tolist(), scribe.tokenizer.encode
        self.heads = [encode_text(f"<think>{the(name)}.") for name in names]
        self.comma, self.tail = encode_text(", 8")[0], encode_text("</think><tool_call>" + CALL)

    def one(self, name: int, box: Any, width: int, height: int) -> tuple[list[int], list[int], list[bool]]:
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

    def batch(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Ids, labels, spots of all objects whose name stands alone, which picture each is of, and which cells it
        covers, bool [K, cells]."""
        height, width = batch.images.shape[1:3]
        rows, owners, cells = [], [], []
        which = dense_targets(*(torch.from_numpy(part) for part in (batch.owner, batch.names, batch.boxes))).which
        for row, names in enumerate(batch.names):
            for index, name in enumerate(names):
                if name >= 0 and (names == name).sum() == 1:
                    rows.append(self.one(int(name), batch.boxes[row, index], width, height))
                    owners.append(row)
                    cells.append(which[row] == index)
        columns = (
            nn.utils.rnn.pad_sequence([torch.tensor(r[part]) for r in rows], batch_first=True, padding_value=fill)
            for part, fill in ((0, 0), (1, IGNORE), (2, False))
        )
        ids, labels, spots = columns
        return ids, labels, spots.bool(), torch.tensor(owners), torch.stack(cells)


def drill(model: Any, scribe: Scribe, drills: Drills, batch: Batch, seen: Seen) -> tuple[Answered, Tensor]:
    """Look all objects of a batch up. Also returns how far the reading heads look beside the object: the mean of
    -log(attention on its cells) where its words are to be said."""
    language = model.model.language_model
    height, width = batch.images.shape[1:3]
    past, start = read_prefix(model, scribe, seen, height, width)
    ids, labels, spots, owners, cells = drills.batch(batch)
    shared = past[0][0].shape[2]
    mine = tuple((key[owners], value[owners]) for key, value in past)
    places = (start + torch.arange(ids.shape[1])).expand(3, len(ids), -1)
    watch: dict[int, list[Tensor]] = {READER: []}
    states, _ = read(language, language.embed_tokens(ids), places, causal(ids.shape[1], shared), mine, watch=watch)
    wanted = labels != IGNORE
    first = int((scribe.prefix((height // CELL, width // CELL)) == scribe.image).nonzero()[0])
    looks = watch[READER][0][:, ::2, :, first : first + cells.shape[1]].float()
    mass = (looks * cells[:, None, None]).sum(-1).transpose(1, 2)[wanted & cells.any(1, keepdim=True)]
    owner = torch.arange(len(ids))[:, None].expand_as(labels)
    return Answered(states[wanted], labels[wanted], spots[wanted], owner[wanted]), -(mass + 1e-4).log().mean()


@torch.no_grad()
def looked_up(model: Any, scribe: Scribe, answered: Answered) -> float:
    """Mean IoU of the boxes told, each coordinate given the right ones before it."""
    logits = model.lm_head(answered.states[answered.spots].float())[:, scribe.numbers]
    ours = bin_places()[logits.argmax(-1)].view(-1, 4) * (GRID / 999)
    return float(box_iou(ours, spelled_boxes(answered.labels[answered.spots].view(-1, 4), scribe)).mean())


def train_drills(model: Any, scribe: Scribe, plan: DrillPlan, album: Path, folder: Path) -> None:
    """Run the drills in `folder` (resumes); leaves `drills.pt` with the model."""
    train = Album(album / "train")
    drills, rng = Drills(scribe, train.names), np.random.default_rng(plan.seed)
    optimiser, numbers = Optimiser(model.model.language_model, plan.lr), SoftNumbers(scribe, plan.sigma)
    run = Run(folder, "drills", plan.minutes)
    if state := run.resume():
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
    batches = train.batches(plan.batch, plan.seed + run.step, plan.crowded)
    while run.progress < 1:
        batch = next(batches)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                seen = encode(model.model.visual, torch.from_numpy(jitter(batch.images, rng)))
            answered, beside = drill(model, scribe, drills, batch, seen)
            losses = language_losses(model, numbers, answered, len(batch.images) * 8)
        total: Any = losses["coordinate"] + losses["text"] + 0.3 * beside
        total.backward()
        norm = optimiser.step(factor_at(run.progress, run.step, hold=0.8))
        run.note({key: loss.item() for key, loss in losses.items()} | {"norm": norm})
        run.note({"beside": beside.item(), "iou": looked_up(model, scribe, answered)})
        run.step += 1
        if run.step % plan.report == 0 or run.progress >= 1:
            run.report()
        if run.step % (4 * plan.report) == 0 or run.progress >= 1:
            run.save(model=model.state_dict(), optimiser=optimiser.state_dict())


class DrilledTrainer(GroundingTrainer):
    """Stage B with a drill between any two packs: the tower learns from both, and look-ups go on being learned."""

    def __init__(self, model: Any, heads: DenseHeads, scribe: Scribe, plan: GroundingPlan, album: Path) -> None:
        super().__init__(model, heads, scribe, plan, album)
        self.drills = Drills(scribe, self.train.names)
        self.turn = 0

    def restart(self, step: int) -> None:
        super().restart(step)
        self.batches = self.train.batches(self.plan.batch, self.plan.seed + step + 2, self.plan.drilled)

    def step(self, factor: float) -> dict[str, float]:
        self.turn += 1
        if self.turn % 3:
            return super().step(factor)
        batch = next(self.batches)
        images, worn = wear(batch, 0.2, self.rng)
        targets = dense_targets(*(torch.from_numpy(part) for part in (batch.owner, batch.names, batch.boxes)))
        with torch.autocast(self.plan.device, torch.bfloat16):
            seen = encode(self.model.model.visual, torch.from_numpy(jitter(images, self.rng)))
            answered, beside = drill(self.model, self.scribe, self.drills, batch, seen)
            told = language_losses(self.model, self.numbers, answered, len(batch.images) * 8)
            dense = dense_losses(self.heads, seen, targets, torch.from_numpy(worn))
        known = torch.stack([WEIGHTS[key] * loss for key, loss in dense.items()]).sum()
        total: Any = told["coordinate"] + told["text"] + 0.3 * beside + self.plan.dense * known
        total.backward()
        self.optimiser.step(factor)
        figures = {"drill": told["coordinate"].item(), "beside": beside.item(), "drill_dense": known.item()}
        return figures | {"drill_iou": looked_up(self.model, self.scribe, answered)}
