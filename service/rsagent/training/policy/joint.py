"""Stage B: look-ups, first moves and whole episodes together, the tower learning along with the language model."""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from rsagent.training.policy.album import SIZES, Album, Batch, closeup
from rsagent.training.policy.associations import glosses
from rsagent.training.policy.dense import DenseHeads, Targets, dense_losses, targets_of
from rsagent.training.policy.drills import Drills, Sought, drill, looked_up, told_apart
from rsagent.training.policy.episodes import converse
from rsagent.training.policy.grounding import (
    Answered,
    Packs,
    Prefix,
    SoftNumbers,
    answer,
    ask,
    language_losses,
    read_prefix,
    told,
)
from rsagent.training.policy.growing import said_with
from rsagent.training.policy.lessons import Lesson, Scribe
from rsagent.training.policy.optimise import Optimiser, factor_at, mixed
from rsagent.training.policy.probes import Probes
from rsagent.training.policy.recall import RECALLED, Recall, recall
from rsagent.training.policy.run import Run
from rsagent.training.policy.shape import CELL
from rsagent.training.policy.theatre import performances
from rsagent.training.policy.together import SEEDS, alike, rank
from rsagent.training.policy.tower import Seen, encode
from rsagent.training.policy.vision import jitter, wear, weighed
from rsagent.training.world import World


@dataclass(frozen=True)
class JointPlan:
    """How stage B goes. `lr` is the language model's peak rate, `tower` what the tower's is of it; `episodes` the share
    of steps that are whole episodes, three fifths of it in the first third; `close` the share of the other steps
    that look at one object closely. `probes`, `dense`, `beside` (what is meant) and `astray` (what a relation refers
    to) weigh the lessons that are not the policy's words, `recall` sentences without a picture; `settle`: for
    how many steps probes learn and teach nobody, where they are new and the model is not."""

    minutes: float = 120.0
    batch: int = 8
    each: int = 6
    lr: float = 1.2e-3
    tower: float = 0.2
    sharpness: float = 5.0
    hold: float = 0.45
    episodes: float = 0.5
    close: float = 0.3
    crowded: float = 0.3
    sigma: float = 1.5
    probes: float = 0.3
    dense: float = 0.4
    beside: float = 0.5
    astray: float = 0.3
    recall: float = 0.8
    settle: int = 0
    seed: int = 0
    report: int = 60
    device: str = "cpu"


class Joint:
    """The model, what teaches it, and the data."""

    def __init__(self, model: Any, heads: DenseHeads, scribe: Scribe, plan: JointPlan, folder: Path) -> None:
        self.model, self.heads, self.scribe, self.plan, self.folder = model, heads, scribe, plan, folder
        self.train, self.val = Album(folder / "album" / "train"), Album(folder / "album" / "val")
        self.world = World("train")
        self.drills = Drills(scribe, self.train.names, self.world.in_the_ground)
        self.probes, self.numbers = Probes(len(self.train.names)).to(plan.device), SoftNumbers(scribe, plan.sigma)
        self.words = said_with(folder)
        self.recall = Recall(scribe, glosses(folder), self.words.associations)
        heard = nn.ModuleList([model.model.language_model, model.lm_head])
        parts = {"language": heard, "tower": nn.ModuleList([model.model.visual, heads])}
        self.parts = nn.ModuleDict({**parts, "probes": self.probes}).requires_grad_(True)
        scales = {"tower.1.": 1.0, "tower.": plan.tower, "probes.": 3.0, "embed_tokens.matrix": 0.5}
        scales |= {"q_norm": plan.sharpness, "k_norm": plan.sharpness}
        self.optimiser = Optimiser(self.parts, plan.lr, scales)
        self.restart(0)

    def restart(self, step: int) -> None:
        """Draw data as a run does that has come to `step`: each process its own, and all the same kinds of it."""
        plan, seed, self.taken = self.plan, self.plan.seed + step + SEEDS * rank(), step
        self.rng, self.kinds = np.random.default_rng(seed), np.random.default_rng(plan.seed + step)
        pages = self.train.batches(plan.batch, seed + 1, plan.crowded)
        packs = Packs(self.scribe, self.world, plan.each, seed, pages, self.words)
        self.packs: Iterator[bytes] = iter(DataLoader(packs, batch_size=None, num_workers=1, prefetch_factor=4))
        self.large = Album(self.folder / "album" / "large").batches(plan.batch, seed + 2)
        self.episodes = performances(self.folder / "played", plan.batch, seed + 3)

    def step(self, progress: float, factor: float) -> dict[str, float]:
        """One update."""
        share = self.plan.episodes * (0.6 if progress < 1 / 3 else 1.0)
        kind = self.kinds.random()
        losses, figures = self.play() if kind < share else self.look()
        if self.plan.recall:
            with mixed(self.plan.device):
                forgotten, figures["recalled"] = recall(self.model, *self.recall.batch(RECALLED, self.rng))
            losses.append(self.plan.recall * forgotten)
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        self.taken += 1
        return figures | {"norm": self.optimiser.step(factor)}

    def quiet(self, x: Tensor) -> Tensor:
        """States as new probes are given them: for a while they learn and teach nobody."""
        return x.detach() if self.taken < self.plan.settle else x

    def play(self) -> tuple[list[Tensor], dict[str, float]]:
        """Whole episodes; the tower is at rest."""
        lessons = next(self.episodes)
        with mixed(self.plan.device):
            answered = converse(self.model, self.scribe.image, lessons)
            losses = language_losses(self.model, self.numbers, answered, len(lessons))
        figures = {"episode_" + key: loss.item() for key, loss in losses.items()}
        figures["episode_beside"] = answered.beside.item()
        losses["text"] = 0.5 * losses["text"]
        return [*losses.values(), self.plan.beside * answered.beside], figures

    def look(self) -> tuple[list[Tensor], dict[str, float]]:
        """Names looked up in pictures and requests about them answered, or in close views names alone."""
        close = self.kinds.random() < self.plan.close
        batch, lessons = self.closely() if close else pickle.loads(next(self.packs))  # noqa: S301  (our own worker's)
        images, worn = wear(batch, 0.5 if close else 0.0, self.rng)
        targets = targets_of(batch)
        with mixed(self.plan.device):
            seen = encode(self.model.model.visual, torch.from_numpy(jitter(images, self.rng)))
            dense = dense_losses(self.heads, seen, targets, torch.from_numpy(worn))
            prefix = read_prefix(self.model, self.scribe, seen, grid_of(batch))
            losses, figures = self.drill(batch, prefix, targets, "close" if close else "drill")
            if lessons:
                answered = answer(self.model, self.scribe, prefix, lessons, targets.which)
                said = language_losses(self.model, self.numbers, answered, sum(map(len, lessons)))
                losses += [said["coordinate"], 1.5 * said["text"], self.plan.beside * answered.beside]
                if answered.astray is not None:
                    losses.append(self.plan.astray * answered.astray)
                    figures["astray"] = answered.astray.item()
                figures |= {key: loss.item() for key, loss in said.items()} | {"beside": answered.beside.item()}
        known = weighed(dense)
        return [*losses, self.plan.dense * known], figures | {"dense": known.item()}

    def closely(self) -> tuple[Batch, list[list[Lesson]]]:
        """A batch of close views, about which nothing is asked but names."""
        return closeup(next(self.large), SIZES[self.rng.integers(len(SIZES))], self.rng), []

    def drill(self, batch: Batch, prefix: Prefix, targets: Targets, kind: str) -> tuple[list[Tensor], dict[str, float]]:
        """All names of a batch, and some that are not there."""
        drilled = self.drills.batch(batch, targets.which, self.rng)
        answered, sought = drill(self.model, self.scribe, drilled, prefix)
        losses = language_losses(self.model, self.numbers, answered, len(drilled.ids))
        sought = Sought(self.quiet(sought.states), sought.names)
        probed, right = self.probes(sought, self.quiet(prefix.cells), targets.cell)
        figures = right | told_apart(self.model, self.drills, answered)
        figures |= {"iou": looked_up(self.model, self.scribe, answered), "beside": answered.beside.item()}
        weighed = [losses["coordinate"], 2 * losses["text"], answered.beside, self.plan.probes * probed]
        return weighed, {f"{kind}_{key}": value for key, value in figures.items()}

    @torch.no_grad()
    def validate(self, batches: int = 6) -> dict[str, float]:
        """Teacher-forced figures on held-out backgrounds, training wordings. They flatter: play freely, too."""
        rows, rng, world = self.val.batches(8, seed=7), np.random.default_rng(7), World("val")
        figures: defaultdict[str, list[float]] = defaultdict(list)
        self.model.eval()
        for _ in range(batches):
            batch = next(rows)
            lessons = ask(self.scribe, world, batch, 6, rng)
            answered = self.answered(batch, lessons)
            for key, values in told(self.model, self.scribe, answered, [x for row in lessons for x in row]).items():
                figures[key] += values
        self.model.train()
        boxes = [value for key, values in figures.items() if key.startswith("iou_") for value in values]
        return {key: float(np.mean(values)) for key, values in sorted(figures.items())} | {"iou": float(np.mean(boxes))}

    def answered(self, batch: Batch, lessons: list[list[Lesson]]) -> Answered:
        """Lessons about a batch's pictures as they are."""
        targets = targets_of(batch)
        with mixed(self.plan.device):
            seen: Seen = encode(self.model.model.visual, torch.from_numpy(batch.images))
            prefix = read_prefix(self.model, self.scribe, seen, grid_of(batch))
            return answer(self.model, self.scribe, prefix, lessons, targets.which)


def grid_of(batch: Batch) -> tuple[int, int]:
    """Rows and columns of cells of a batch's pictures."""
    height, width = batch.images.shape[1:3]
    return height // CELL, width // CELL


def train_joint(joint: Joint, folder: Path) -> None:
    """Run stage B in `folder` (resumes); leaves `joint.pt` with the whole model, the heads and the probes."""
    plan, run = joint.plan, Run(folder, "joint", joint.plan.minutes)
    parts: dict[str, Any] = {"model": joint.model, "heads": joint.heads, "probes": joint.probes}
    parts["optimiser"] = joint.optimiser
    if state := run.resume():
        for key, part in parts.items():
            part.load_state_dict(state[key])
        joint.restart(run.step)
    alike(joint.parts)
    run.begin()
    last = run.progress >= 1
    while not last:
        run.note(joint.step(run.progress, factor_at(run.progress, run.step, warm=60, floor=0.03, hold=plan.hold)))
        run.step += 1
        last = run.progress >= 1
        if run.step % (4 * plan.report) == 0 or last:
            run.save(**{key: part.state_dict() for key, part in parts.items()})
        if run.step % plan.report == 0 or last:
            checked = rank() == 0 and (run.step % (20 * plan.report) == 0 or last)
            run.report(**(joint.validate() if checked else {}))
