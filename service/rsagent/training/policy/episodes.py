"""Stage C, episodes: whole conversations with their overlays, beside the packs of stage B so that grounding goes on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rsagent.training.policy.dense import IGNORE
from rsagent.training.policy.grounding import Answered, GroundingTrainer, language_losses, told
from rsagent.training.policy.lessons import Lesson
from rsagent.training.policy.optimise import factor_at
from rsagent.training.policy.reader import causal, read, token_places
from rsagent.training.policy.run import Run
from rsagent.training.policy.theatre import performances
from rsagent.training.policy.tower import encode


@dataclass(frozen=True)
class EpisodesPlan:
    """How stage C goes: of `cycle` steps one is a pack of stage B, the rest are `batch` episodes each."""

    minutes: float = 25.0
    batch: int = 8
    cycle: int = 2
    seed: int = 0
    report: int = 60


def look(model: Any, pictures: Sequence[Any]) -> list[list[Tensor]]:
    """Each picture's merged tokens and deepstack layers, pictures of one size encoded together."""
    sizes: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for index, picture in enumerate(pictures):
        sizes[picture.shape[:2]].append(index)
    found: list[list[Tensor]] = [[] for _ in pictures]
    for group in sizes.values():
        seen = encode(model.model.visual, torch.from_numpy(np.stack([pictures[i] for i in group])))
        for row, index in enumerate(group):
            found[index] = [layer[row] for layer in (seen.merged, *seen.deepstack)]
    return found


def converse(model: Any, image: int, lessons: list[Lesson]) -> Answered:
    """Read whole conversations, padded to one length; the tower is not trained here."""
    language = model.model.language_model
    ids, labels, spots = (
        nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=fill)
        for parts, fill in (
            ([lesson.ids for lesson in lessons], 0),
            ([lesson.labels for lesson in lessons], IGNORE),
            ([lesson.spots for lesson in lessons], False),
        )
    )
    with torch.no_grad():
        seen = look(model, [picture for lesson in lessons for picture in lesson.pictures])
    at, x = ids == image, language.embed_tokens(ids)
    stacked = []
    for layer in range(len(seen[0])):
        values = torch.cat([parts[layer] for parts in seen]).to(x.dtype)
        if layer == 0:
            x = x.masked_scatter(at[..., None], values)
        else:
            stacked.append(torch.zeros_like(x).masked_scatter(at[..., None], values))
    places = torch.zeros(3, *ids.shape, dtype=torch.long)
    for row, lesson in enumerate(lessons):
        places[:, row, : len(lesson.ids)] = token_places(lesson.ids, image, lesson.grids)
    states, _ = read(language, x, places, causal(ids.shape[1]), None, stacked)
    wanted = labels != IGNORE
    owner = torch.arange(len(lessons))[:, None].expand_as(labels)
    return Answered(states[wanted], labels[wanted], spots[wanted], owner[wanted])


class EpisodesTrainer:
    """Stage C around the model, the optimiser and the packs of stage B."""

    def __init__(self, ground: GroundingTrainer, plan: EpisodesPlan, played: Path) -> None:
        self.ground, self.plan, self.played = ground, plan, played
        self.restart(0)

    def restart(self, step: int) -> None:
        """Draw episodes as a run does that has come to `step`."""
        self.lessons = performances(self.played, self.plan.batch, self.plan.seed + step)

    def step(self, number: int, factor: float) -> dict[str, float]:
        if number % self.plan.cycle == 0:
            return self.ground.step(factor)
        lessons = next(self.lessons)
        with torch.autocast(self.ground.plan.device, torch.bfloat16):
            answered = converse(self.ground.model, self.ground.scribe.image, lessons)
            losses = language_losses(self.ground.model, self.ground.numbers, answered, len(lessons))
        sum(losses.values()).backward()  # type: ignore[union-attr]
        figures = {"play_" + key: loss.item() for key, loss in losses.items()}
        for key, values in told(self.ground.model, self.ground.scribe, answered, lessons).items():
            if key.startswith("words"):
                figures["play_words"] = figures.get("play_words", 0.0) + sum(values) / len(lessons)
        return figures | {"norm": self.ground.optimiser.step(factor)}


def train_episodes(trainer: EpisodesTrainer, folder: Path) -> None:
    """Run stage C in `folder` (resumes); leaves `episodes.pt` with the whole model and the heads."""
    plan, ground, run = trainer.plan, trainer.ground, Run(folder, "episodes", trainer.plan.minutes)
    if state := run.resume():
        ground.model.load_state_dict(state["model"])
        ground.heads.load_state_dict(state["heads"])
        ground.optimiser.load_state_dict(state["optimiser"])
        ground.restart(run.step)
        trainer.restart(run.step)
    while run.progress < 1:
        run.note(trainer.step(run.step, factor_at(run.progress, run.step, warm=30, hold=0.3)))
        run.step += 1
        last = run.progress >= 1
        if run.step % (4 * plan.report) == 0 or last:
            states = {"model": ground.model, "heads": ground.heads, "optimiser": ground.optimiser}
            run.save(**{key: part.state_dict() for key, part in states.items()})
        if run.step % plan.report == 0 or last:
            run.report(**(ground.validate() if run.step % (4 * plan.report) == 0 or last else {}))
