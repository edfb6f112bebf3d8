"""Which words go with which name: the part of knowledge that a small model does not find by itself.

All sentences of training it knows by heart, word by word, and of a sentence that it never read it could name the thing
in 31 of 100. The same sentences, taken as bags of words, tell more: a word goes with a name as far as it is like a word
that was told of it (cosine of their vectors, squared), the more so the rarer it is, and the name that all words of a
sentence go with best is right in 64 of 100. So each word brings along what it goes with, a few numbers that are simply
to be added up; and sentences are said anew with words that are like theirs, so that none is worth knowing by heart.

Words are those of the lexicon; what is held out is never read here.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rsagent.training.policy.lexicon import Lexicon, words_of
from rsagent.training.world.knowledge import facts
from rsagent.training.world.names import entries

WIDTH = 128
COMMON = 20
RARE = 2000
"""Words of the language's first 20 say nothing; from the 2,000th on they count whole."""
TRIES = 4


@dataclass(frozen=True)
class Change:
    """How far a sentence is said otherwise: the share of words `replaced` by one of the `nearest` with a cosine above
    `like`, and of those `dropped`."""

    replaced: float
    dropped: float
    like: float
    nearest: int


NEAR = Change(0.45, 0.12, 0.45, 10)
FAR = Change(0.6, 0.3, 0.35, 25)
"""Half of the sentences changed that far go with another name better, though with none in view."""


def told(glosses: Sequence[tuple[str, str]] = ()) -> list[tuple[str, str]]:
    """(name, sentence): all that training tells of things, `glosses` as well, and what they are called."""
    known = [(name, fact) for name, all_of in facts("told").items() for fact in all_of]
    said = [(name, fact.text) for name, fact in known if fact.voice == "train"]
    return [*said, *glosses, *((entry.name, phrase) for entry in entries() for phrase in entry.phrases)]


class Associations:
    """What `sentences`, (name, sentence), say of the words of a lexicon."""

    def __init__(self, lexicon: Lexicon, sentences: Sequence[tuple[str, str]]) -> None:
        self.lexicon = lexicon
        self.rows = {word: row for row, word in enumerate(lexicon.words)}
        self.names = {entry.name: number for number, entry in enumerate(entries())}
        self.units = lexicon.vectors / np.linalg.norm(lexicon.vectors, axis=1, keepdims=True)
        self.naming = {row for entry in entries() for phrase in entry.phrases for row in self.read(phrase)}
        bags: list[set[int]] = [set() for _ in self.names]
        times: Counter[int] = Counter()
        for name, text in sentences:
            bags[self.names[name]].update(self.read(text))
            times.update(set(self.read(text)))
        rarity = np.array([math.log(len(sentences) / (1 + times[row])) for row in range(len(lexicon.words))])
        place = np.log1p(np.arange(len(lexicon.words)) / COMMON) / math.log1p(RARE / COMMON)
        self.weight = (rarity * place.clip(0, 1)).astype(np.float32)
        likeness = [self._likest(bag) for bag in bags]
        self.table: NDArray[np.float32] = np.stack(likeness, 1) * self.weight[:, None]
        """[words, names]: how much each word speaks for each name."""

    def _likest(self, bag: set[int]) -> NDArray[np.float32]:
        if not bag:
            return np.zeros(len(self.units), np.float32)
        cosine = (self.units @ self.units[sorted(bag)].T).max(1)
        return np.asarray(cosine.clip(0) ** 2, np.float32)

    def read(self, text: str) -> list[int]:
        """Rows of the words of a text that the lexicon has."""
        return sorted(self.rows[word] for word in words_of([text]) if word in self.rows)

    def guess(self, text: str, among: Sequence[int] = ()) -> int:
        """The number of the name that the words of a text go with best, of all or of those `among`."""
        worth = self.table[self.read(text)].sum(0)
        return int(max(among, key=worth.__getitem__) if among else worth.argmax())

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """[words, 128]: the table's principal axes, of length ten on average, for `Meaning`."""
        left, size, _ = np.linalg.svd(self.table, full_matrices=False)
        found = left[:, :WIDTH] * size[:WIDTH]
        return np.asarray(10 * found / np.linalg.norm(found, axis=1).mean(), np.float32)

    def like(self, row: int, change: Change) -> list[int]:
        """The words that are most like a word and name nothing."""
        cosine = self.units @ self.units[row]
        nearest = np.argpartition(-cosine, change.nearest + 1)[: change.nearest + 1]
        close = [int(other) for other in nearest if cosine[other] > change.like and other != row]
        return [other for other in close if other not in self.naming]

    def reworded(
        self, name: str, text: str, rng: random.Random, change: Change = NEAR, among: Iterable[str] | None = None
    ) -> str:
        """A sentence about `name` with some words replaced by others like them and some left out, such that its words
        still go with that name best: of all names, or of those `among` which it is to be told. As it stands where none
        is found."""
        names = () if among is None else (*among, name)
        choice = sorted({self.names[one] for one in names if one in self.names})
        wanted = self.names.get(name)
        for _ in range(TRIES):
            made = " ".join(self._said(word, rng, change) for word in text.split(" "))
            made = " ".join(made.split())
            if made and made != text and self.guess(made, choice) == wanted:
                return made
        return text

    def _said(self, word: str, rng: random.Random, change: Change) -> str:
        core = word.strip(".,?!").lower()
        row = self.rows.get(core)
        if row is None or self.weight[row] < 1.5 or row in self.naming:
            return word
        chance = rng.random()
        if chance < change.dropped:
            return ""
        others = self.like(row, change) if chance < change.dropped + change.replaced else []
        return word.lower().replace(core, self.lexicon.words[rng.choice(others)]) if others else word


def associations(folder: Path) -> Associations | None:
    """Those of a run's lexicon and glosses; None where a run has no words."""
    path = folder / "words.npz"
    if not path.exists():
        return None
    return Associations(Lexicon.load(path), told(glosses(folder)))


def glosses(folder: Path) -> list[tuple[str, str]]:
    """The rows (name, sentence) of `glosses.tsv`, where a run has one."""
    path = folder / "glosses.tsv"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [(name, text) for name, text in (line.split("\t") for line in lines)]
