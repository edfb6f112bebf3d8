"""Grounding: a picture is read once, several requests about it branch off, each answered by the first move."""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rsagent.training.policy.album import Batch
from rsagent.training.policy.dense import GRID, IGNORE, SPELLED, bin_places, box_iou
from rsagent.training.policy.lessons import PLAIN, Lesson, Scribe, Words, draw, first_lesson
from rsagent.training.policy.meanings import embedded
from rsagent.training.policy.reader import Past, causal, read, token_places
from rsagent.training.policy.tower import Seen
from rsagent.training.world import World


def ask(
    scribe: Scribe,
    world: World,
    batch: Batch,
    each: int,
    rng: np.random.Generator,
    words: Words = PLAIN,
) -> list[list[Lesson]]:
    """`each` lessons about every picture of a batch."""
    asked = []
    for row in range(len(batch.images)):
        scene = batch.scene(row, world.names)
        chosen = draw(scene, world, each, rng, words)
        turns = rng.choice([1, 2, 3, 4, 6, 8], each, p=[0.35, 0.05, 0.05, 0.1, 0.1, 0.35])
        made = [first_lesson(scribe, scene, request, int(t)) for request, t in zip(chosen, turns, strict=True)]
        asked.append([replace(lesson, pictures=made[0].pictures) for lesson in made])  # one copy travels, not all
    return asked


class Packs(torch.utils.data.IterableDataset[bytes]):
    """Pickled (batch, lessons) without end, made by a worker process: many small tensors travel badly one by one."""

    def __init__(
        self,
        scribe: Scribe,
        world: World,
        each: int,
        seed: int,
        batches: Iterator[Batch],
        words: Words = PLAIN,
    ) -> None:
        self.scribe, self.world, self.each, self.seed, self.batches = scribe, world, each, seed, batches
        self.words = words

    def __iter__(self) -> Iterator[bytes]:
        rng = np.random.default_rng(self.seed)
        for batch in self.batches:
            yield pickle.dumps((batch, ask(self.scribe, self.world, batch, self.each, rng, self.words)))


DOUBT = 0.4
READERS = (2, 3)
"""The layers whose even heads are asked to look at what is meant; the second can go by what the first one found."""


@dataclass(frozen=True)
class Answered:
    """States [M, T] where a label is to be predicted, those labels, which are coordinates, and whose lesson; `beside`:
    how far the reading heads look beside what is meant, the mean of -log(attention on its cells); `astray` the same of
    what a relation refers to: of the first reader's other heads where the request has named it, and of the reading
    heads where the thought says where it is."""

    states: Tensor
    labels: Tensor
    spots: Tensor
    owner: Tensor
    beside: Tensor
    astray: Tensor | None = None


def watched() -> dict[int, list[Tensor]]:
    """What `read` fills with the attention of the readers."""
    return {layer: [] for layer in READERS}


def looks_beside(
    watch: dict[int, list[Tensor]],
    first: int,
    cells: Tensor,
    where: Tensor,
    heads: slice = slice(None, None, 2),
) -> Tensor:
    """Mean of -log(attention on `cells` bool [B, N]) at the places `where` bool [B, S].

    `watch` holds weights [B, heads, S, P + S] a reader; image tokens begin at `first`. Rows without cells do not count.
    """
    weights = torch.cat([layers[0][:, heads] for layers in watch.values()], 1)
    looks = weights[..., first : first + cells.shape[1]].float()
    mass = (looks * cells[:, None, None]).sum(-1).transpose(1, 2)[where & cells.any(1, keepdim=True)]
    return -(mass + 1e-4).log().mean() if len(mass) else weights.new_zeros(())


@dataclass(frozen=True)
class Prefix:
    """What opens every lesson about the same pictures, read: keys and values, the next position, and the image tokens
    [B, N, T] as they come in to the first reader."""

    past: Past
    start: int
    cells: Tensor


def read_prefix(model: Any, scribe: Scribe, seen: Seen, grid: tuple[int, int]) -> Prefix:
    """Read what opens every lesson about pictures of `grid` cells."""
    language = model.model.language_model
    ids = scribe.prefix(grid)
    at, places = ids == scribe.image, token_places(ids, scribe.image, [grid])
    head = language.embed_tokens(ids).expand(len(seen.merged), -1, -1)
    head = _placed(head, seen.merged, at)
    stacked = [_placed(torch.zeros_like(head), extra, at) for extra in seen.deepstack]
    spread = places[:, None].expand(-1, len(head), -1)
    taps: dict[int, list[Tensor]] = {READERS[0]: []}
    _, past = read(language, head, spread, causal(len(ids)), None, stacked, taps=taps)
    return Prefix(past, int(places.max()) + 1, taps[READERS[0]][0][:, at])


def answer(model: Any, scribe: Scribe, prefix: Prefix, lessons: list[list[Lesson]], which: Tensor) -> Answered:
    """All lessons about each picture as branches of its prefix; `which` [B, N]: the object under each cell."""
    language, past, start = model.model.language_model, prefix.past, prefix.start
    each, flat = len(lessons[0]), [lesson for row in lessons for lesson in row]
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
    watch = watched()
    x = embedded(language, ids, doubtful(flat, ids, scribe.think))
    states, _ = read(language, x, after, causal(longest - shared, shared), past, watch=watch)
    wanted = labels != IGNORE
    owner = torch.arange(len(flat))[:, None].expand_as(labels)
    looks = torch.zeros_like(wanted)
    for row, lesson in enumerate(flat):
        looks[row, max(0, lesson.looks.start - shared) : max(0, lesson.looks.stop - shared)] = lesson.target >= 0
    cells = which.repeat_interleave(each, 0) == torch.tensor([lesson.target for lesson in flat])[:, None]
    beside = looks_beside(watch, scribe.first, cells, looks)
    astray = anchors_beside(watch, scribe.first, flat, which.repeat_interleave(each, 0), shared, looks)
    return Answered(states[wanted], labels[wanted], spots[wanted], owner[wanted], beside, astray)


def doubtful(flat: list[Lesson], ids: Tensor, think: int) -> Tensor:
    """bool [M, S]: the requests of a part of the lessons about facts. A policy that knows every sentence by heart never
    asks the picture which of the things in it could be meant; with sentences that it never read it has to."""
    before = (ids == think).cumsum(1) == 0
    chosen = torch.tensor([lesson.kind == "reasoning" for lesson in flat]) & (torch.rand(len(flat)) < DOUBT)
    return before & chosen[:, None]


def anchors_beside(
    watch: dict[int, list[Tensor]], first: int, flat: list[Lesson], which: Tensor, shared: int, like: Tensor
) -> Tensor:
    """As `looks_beside`, for what relations refer to, at the end of its name in the request and where the thought says
    where it is: to tell what is left of a star one must have found the star."""
    asked, said = torch.zeros_like(like), torch.zeros_like(like)
    for row, lesson in enumerate(flat):
        if lesson.anchor >= 0 and lesson.anchored >= shared:
            asked[row, lesson.anchored - shared] = True
        said[row, max(0, lesson.named - lesson.referred - shared) : max(0, lesson.named - shared)] = True
    cells = which == torch.tensor([lesson.anchor if lesson.anchor >= 0 else -2 for lesson in flat])[:, None]
    once = looks_beside({READERS[0]: watch[READERS[0]]}, first, cells, asked, slice(1, None, 2))
    return once + looks_beside(watch, first, cells, said)


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
        if int(spots.sum()) in (4, 6):
            ours = scribe.numbers[logits[spots][-4:, scribe.numbers].argmax(-1)]
            pair = spelled_boxes(torch.stack([ours, labels[spots][-4:]]), scribe)
            figures["iou_" + lesson.kind].append(float(box_iou(pair[0], pair[1])))
    return figures
