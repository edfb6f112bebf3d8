"""Recall: a sentence about a thing, and its name, without a picture. Thousands a minute, where a look costs a second.

In pictures a sentence is one request in six, and what else is there gives half of the answer away.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rsagent.agent.prompts import BRIEF
from rsagent.agent.state import Budget
from rsagent.policy.chat import template_messages
from rsagent.policy.protocol import Message
from rsagent.training.policy.associations import Associations, told
from rsagent.training.policy.dense import IGNORE
from rsagent.training.policy.lessons import DIALECT, Scribe
from rsagent.training.policy.meanings import embedded
from rsagent.training.policy.reader import causal, read
from rsagent.training.synthesis import wording
from rsagent.training.world.names import entries
from rsagent.training.world.phrasing import FRAMES

RECALLED = 40
"""Sentences a step."""
DOUBT = 0.5
"""Share of them of which words are lost."""
REWORDED = 0.7
"""Share of them said in other words."""


class Recall:
    """Writes batches of sentences with the name that each is about; `glosses` are further ones, (name, sentence), and
    with `associations` most are said in other words."""

    def __init__(
        self, scribe: Scribe, glosses: Sequence[tuple[str, str]] = (), associations: Associations | None = None
    ) -> None:
        self.scribe, self.associations = scribe, associations
        self.sentences = told(glosses)
        self.heads = {entry.name: scribe.tokenizer.encode(f"<think>{wording.seek(entry.name)}") for entry in entries()}

    def batch(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Ids and labels [count, S]."""
        rows = []
        for index in rng.integers(len(self.sentences), size=count):
            name, text = self.sentences[int(index)]
            if self.associations and rng.random() < REWORDED:
                text = self.associations.reworded(name, text, random.Random(int(rng.integers(1 << 30))))
            rows.append(self.row(name, self.asked(text, rng)))
        ids, labels = (
            nn.utils.rnn.pad_sequence([torch.tensor(row[part]) for row in rows], batch_first=True, padding_value=fill)
            for part, fill in ((0, 0), (1, IGNORE))
        )
        return ids, labels

    def asked(self, text: str, rng: np.random.Generator) -> str:
        """A sentence as it stands or in a training frame, with a capital at times."""
        if rng.random() < 0.3 and text[-1] not in ".?!":
            frames = [frame for frame in FRAMES["train"] if "{be}" not in frame]
            text = frames[int(rng.integers(len(frames)))].format(np=text)
        return text[0].upper() + text[1:] if rng.random() < 0.4 else text

    def row(self, name: str, text: str) -> tuple[list[int], list[int]]:
        """The conversation up to the name, and the name as what is to be learned."""
        opening = BRIEF.opening.format(query=text, turns=8)
        start = (Message.of("system", DIALECT.system(Budget())), Message.of("user", opening))
        asked = self.scribe.tokenizer.apply_chat_template(template_messages(start), tokenize=False)
        before, head = self.scribe.tokenizer.encode(asked + "<|im_start|>assistant\n"), self.heads[name]
        return [*before, *head[:-1]], [IGNORE] * len(before) + head[1:]


def recall(model: Any, ids: Tensor, labels: Tensor) -> tuple[Tensor, float]:
    """The loss of the names, and how often the first word of one, after "The", is right."""
    language = model.model.language_model
    places = torch.arange(ids.shape[1]).expand(3, len(ids), -1)
    wanted = labels != IGNORE
    hard = (wanted.cumsum(1) == 0) & (torch.rand(len(ids), 1) < DOUBT)
    states, _ = read(language, embedded(language, ids, hard), places, causal(ids.shape[1]))
    logits = model.lm_head(states[wanted]).float()
    second = (wanted.cumsum(1) == 2)[wanted]
    right = (logits.argmax(-1) == labels[wanted])[second].float().mean()
    return functional.cross_entropy(logits, labels[wanted]), float(right)
