"""Whole conversations with their overlays and zooms, read at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rsagent.training.policy.dense import IGNORE
from rsagent.training.policy.grounding import Answered, watched
from rsagent.training.policy.lessons import Lesson
from rsagent.training.policy.reader import causal, read, token_places
from rsagent.training.policy.tower import encode


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
    watch = watched()
    states, _ = read(language, x, places, causal(ids.shape[1]), None, stacked, watch)
    wanted = labels != IGNORE
    owner = torch.arange(len(lessons))[:, None].expand_as(labels)
    beside = gazed_beside(watch, image, lessons)
    return Answered(states[wanted], labels[wanted], spots[wanted], owner[wanted], beside)


def gazed_beside(watch: dict[int, list[Tensor]], image: int, lessons: list[Lesson]) -> Tensor:
    """As `looks_beside`, for the gazes of whole conversations: mean of -log(attention on the cells of each)."""
    weights = torch.cat([layers[0][:, ::2] for layers in watch.values()], 1)
    logs = [weights.new_zeros(0, dtype=torch.float32)]
    for row, lesson in enumerate(lessons):
        at = (lesson.ids == image).nonzero()[:, 0]
        firsts = np.cumsum([0, *(rows * columns for rows, columns in lesson.grids)])
        for gaze in lesson.gazes:
            cells = at[firsts[gaze.picture] : firsts[gaze.picture + 1]][gaze.cells]
            mass = weights[row, :, gaze.start : gaze.stop, cells].float().sum(-1)
            logs.append(-(mass + 1e-4).log().flatten() if len(cells) else logs[0])
    every = torch.cat(logs)
    return every.mean() if len(every) else every.sum()
