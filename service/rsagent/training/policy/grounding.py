"""Stage B, grounding: a picture is read once, several requests about it branch off, each answered by the first move."""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rsagent.training.policy.album import Album, Batch
from rsagent.training.policy.dense import (
    GRID,
    IGNORE,
    SPELLED,
    DenseHeads,
    bin_places,
    box_iou,
    dense_losses,
    dense_targets,
)
from rsagent.training.policy.lessons import Lesson, Scribe, draw, first_lesson
from rsagent.training.policy.optimise import Optimiser, factor_at
from rsagent.training.policy.reader import Past, causal, read, token_places
from rsagent.training.policy.run import Run
from rsagent.training.policy.shape import CELL
from rsagent.training.policy.tower import Seen, encode
from rsagent.training.policy.vision import WEIGHTS, jitter
from rsagent.training.world import World


@dataclass(frozen=True)
class GroundingPlan:
    """How stage B goes. `tower` scales the tower's learning rate, `dense` the weight of the dense losses."""

    minutes: float = 30.0
    batch: int = 4
    each: int = 6
    lr: float = 1e-3
    tower: float = 0.15
    dense: float = 0.6
    sigma: float = 1.5
    crowded: float = 0.2
    drilled: float = 0.6
    seed: int = 0
    report: int = 100
    device: str = "cpu"


def ask(scribe: Scribe, world: World, batch: Batch, each: int, rng: np.random.Generator) -> list[list[Lesson]]:
    """`each` lessons about every picture of a batch."""
    asked = []
    for row in range(len(batch.images)):
        scene = batch.scene(row, world.names)
        chosen = draw(scene, world, each, rng)
        turns = rng.choice([1, 2, 3, 4, 6, 8], each, p=[0.35, 0.05, 0.05, 0.1, 0.1, 0.35])
        made = [first_lesson(scribe, scene, request, int(t)) for request, t in zip(chosen, turns, strict=True)]
        asked.append([replace(lesson, pictures=made[0].pictures) for lesson in made])  # one copy travels, not all
    return asked


class Packs(torch.utils.data.IterableDataset[bytes]):
    """Pickled (batch, lessons) without end, made by a worker process: many small tensors travel badly one by one."""

    def __init__(self, scribe: Scribe, album: Album, world: World, plan: GroundingPlan, seed: int) -> None:
        self.scribe, self.album, self.world, self.plan, self.seed = scribe, album, world, plan, seed

    def __iter__(self) -> Iterator[bytes]:
        rng = np.random.default_rng(self.seed)
        for batch in self.album.batches(self.plan.batch, self.seed + 1, self.plan.crowded):
            yield pickle.dumps((batch, ask(self.scribe, self.world, batch, self.plan.each, rng)))


@dataclass(frozen=True)
class Answered:
    """States [M, T] where a label is to be predicted, those labels, which are coordinates, and whose lesson."""

    states: Tensor
    labels: Tensor
    spots: Tensor
    owner: Tensor


def read_prefix(model: Any, scribe: Scribe, seen: Seen, height: int, width: int) -> tuple[Past, int]:
    """Read what opens every lesson about pictures of `height` x `width`: keys and values, and the next position."""
    language, grid = model.model.language_model, (height // CELL, width // CELL)
    ids = scribe.prefix(grid)
    at, places = ids == scribe.image, token_places(ids, scribe.image, [grid])
    head = language.embed_tokens(ids).expand(len(seen.merged), -1, -1)
    head = _placed(head, seen.merged, at)
    stacked = [_placed(torch.zeros_like(head), extra, at) for extra in seen.deepstack]
    spread = places[:, None].expand(-1, len(head), -1)
    _, past = read(language, head, spread, causal(len(ids)), None, stacked)
    return past, int(places.max()) + 1


def answer(model: Any, scribe: Scribe, seen: Seen, lessons: list[list[Lesson]]) -> Answered:
    """Read each picture once and all its lessons as branches of it."""
    language = model.model.language_model
    each, flat = len(lessons[0]), [lesson for row in lessons for lesson in row]
    height, width = lessons[0][0].pictures[0].shape[:2]
    past, start = read_prefix(model, scribe, seen, height, width)
    shared, longest = past[0][0].shape[2], max(len(lesson.ids) for lesson in flat)
    ids, labels, spots = (
        nn.utils.rnn.pad_sequence([part[shared:] for part in parts], batch_first=True, padding_value=fill)
        for parts, fill in (
            ([lesson.ids for lesson in flat], 0),
            ([lesson.labels for lesson in flat], IGNORE),
            ([lesson.spots for lesson in flat], False),
        )
    )
    after = (start + torch.arange(longest - shared)).expand(3, len(lessons) * each, -1)
    states, _ = read(language, language.embed_tokens(ids), after, causal(longest - shared, shared), past)
    wanted = labels != IGNORE
    owner = torch.arange(len(flat))[:, None].expand_as(labels)
    return Answered(states[wanted], labels[wanted], spots[wanted], owner[wanted])


def _placed(x: Tensor, values: Tensor, at: Tensor) -> Tensor:
    """`x` [B, S, T] with `values` [B, n, T] at the places `at` bool [S]."""
    out = x.to(values.dtype).clone()
    out[:, at] = values
    return out


class SoftNumbers:
    """Gaussian targets over the coordinates that the expert writes."""

    def __init__(self, scribe: Scribe, sigma: float) -> None:
        gaps = (bin_places()[:, None] - bin_places()) / sigma
        self.targets = torch.softmax(-0.5 * gaps.square(), -1)
        self.ids = scribe.numbers
        self.index = torch.full((int(self.ids.max()) + 1,), -1)
        self.index[self.ids] = torch.arange(len(self.ids))

    def loss(self, logs: Tensor, labels: Tensor) -> Tensor:
        """Mean divergence of log-probabilities [M, vocabulary] from the targets of coordinate ids [M]."""
        soft = self.targets[self.index[labels]]
        return -(soft * (logs[:, self.ids] - soft.clamp_min(1e-9).log())).sum(-1).mean()


def language_losses(model: Any, numbers: SoftNumbers, answered: Answered, lessons: int) -> dict[str, Tensor]:
    """`text` (summed over a lesson's words, an eighth) and `coordinate` (mean) losses of the policy's own tokens."""
    logs = functional.log_softmax(model.lm_head(answered.states).float(), -1)
    words = functional.nll_loss(logs[~answered.spots], answered.labels[~answered.spots], reduction="sum")
    losses = {"text": words / lessons / 8}
    if answered.spots.any():
        losses["coordinate"] = numbers.loss(logs[answered.spots], answered.labels[answered.spots])
    return losses


def spelled_boxes(ids: Tensor, scribe: Scribe) -> Tensor:
    """Coordinate ids [N, 4] -> boxes [N, 4] in 0..1 of the view."""
    index = torch.full((int(scribe.numbers.max()) + 1,), 0)
    index[scribe.numbers] = torch.arange(len(SPELLED))
    return bin_places()[index[ids]] * (GRID / 999)


@torch.no_grad()
def told(model: Any, scribe: Scribe, answered: Answered, flat: list[Lesson]) -> dict[str, list[float]]:
    """Teacher-forced figures: box IoU by kind, and whether all words of the lesson are right."""
    logits = model.lm_head(answered.states.float())
    best = logits.argmax(-1)
    figures: defaultdict[str, list[float]] = defaultdict(list)
    for number, lesson in enumerate(flat):
        mine = answered.owner == number
        spots, labels = mine & answered.spots, answered.labels
        words = mine & ~answered.spots
        figures["words_" + lesson.kind].append(float((best[words] == labels[words]).all()))
        if int(spots.sum()) == 4:
            ours = scribe.numbers[logits[spots][:, scribe.numbers].argmax(-1)]
            pair = spelled_boxes(torch.stack([ours, labels[spots]]), scribe)
            figures["iou_" + lesson.kind].append(float(box_iou(pair[0], pair[1])))
    return figures


class GroundingTrainer:
    """Model, heads, optimiser and data of stage B."""

    def __init__(self, model: Any, heads: DenseHeads, scribe: Scribe, plan: GroundingPlan, album: Path) -> None:
        self.model, self.heads, self.scribe, self.plan = model, heads, scribe, plan
        self.train, self.val = Album(album / "train"), Album(album / "val")
        self.worlds = World("train"), World("val")
        self.numbers = SoftNumbers(scribe, plan.sigma)
        parts = nn.ModuleDict({"tower": model.model.visual, "language": model.model.language_model, "heads": heads})
        parts.requires_grad_(True)
        self.optimiser = Optimiser(parts, plan.lr, {"tower.": plan.tower})
        self.restart(0)

    def restart(self, step: int) -> None:
        """Draw data as a run does that has come to `step`."""
        self.rng = np.random.default_rng(self.plan.seed + step)
        packs = Packs(self.scribe, self.train, self.worlds[0], self.plan, self.plan.seed + step)
        self.packs = iter(torch.utils.data.DataLoader(packs, batch_size=None, num_workers=1, prefetch_factor=4))

    def losses(self, batch: Batch, lessons: list[list[Lesson]]) -> tuple[dict[str, Tensor], Answered]:
        targets = dense_targets(*(torch.from_numpy(a) for a in (batch.owner, batch.names, batch.boxes)))
        images = torch.from_numpy(jitter(batch.images, self.rng))
        with torch.autocast(self.plan.device, torch.bfloat16):
            seen = encode(self.model.model.visual, images)
            answered = answer(self.model, self.scribe, seen, lessons)
            losses = language_losses(self.model, self.numbers, answered, sum(map(len, lessons)))
            dense = dense_losses(self.heads, seen, targets, torch.full((len(images),), -1))
        losses["dense"] = torch.stack([WEIGHTS[key] * loss for key, loss in dense.items() if key != "tint"]).sum()
        return losses, answered

    def step(self, factor: float) -> dict[str, float]:
        batch, lessons = pickle.loads(next(self.packs))  # noqa: S301  (our own worker's)
        losses, _ = self.losses(batch, lessons)
        sum((self.plan.dense if key == "dense" else 1.0) * loss for key, loss in losses.items()).backward()  # type: ignore[union-attr]
        return {key: loss.item() for key, loss in losses.items()} | {"norm": self.optimiser.step(factor)}

    @torch.no_grad()
    def validate(self, batches: int = 10) -> dict[str, float]:
        """Teacher-forced figures on held-out backgrounds, training wordings."""
        rows, rng = self.val.batches(8, seed=7), np.random.default_rng(7)
        figures: defaultdict[str, list[float]] = defaultdict(list)
        for _ in range(batches):
            batch = next(rows)
            lessons = ask(self.scribe, self.worlds[1], batch, 6, rng)
            _, answered = self.losses(batch, lessons)
            for key, values in told(self.model, self.scribe, answered, [x for row in lessons for x in row]).items():
                figures[key] += values
        boxes = [value for key, values in figures.items() if key.startswith("iou_") for value in values]
        return {key: float(np.mean(values)) for key, values in sorted(figures.items())} | {"iou": float(np.mean(boxes))}


def train_grounding(trainer: GroundingTrainer, folder: Path) -> None:
    """Run stage B in `folder` (resumes); leaves `grounding.pt` with the whole model and the heads."""
    plan, run = trainer.plan, Run(folder, "grounding", trainer.plan.minutes)
    if state := run.resume():
        trainer.model.load_state_dict(state["model"])
        trainer.heads.load_state_dict(state["heads"])
        trainer.optimiser.load_state_dict(state["optimiser"])
        trainer.restart(run.step)
    while run.progress < 1:
        run.note(trainer.step(factor_at(run.progress, run.step)))
        run.step += 1
        last = run.progress >= 1
        if run.step % (4 * plan.report) == 0 or last:
            states = {"model": trainer.model, "heads": trainer.heads, "optimiser": trainer.optimiser}
            run.save(**{key: part.state_dict() for key, part in states.items()})
        if run.step % plan.report == 0 or last:
            run.report(**(trainer.validate() if run.step % (4 * plan.report) == 0 or last else {}))
