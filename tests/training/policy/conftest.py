"""A WordNet folder and a file of word vectors, both small."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

WORDS = ["the", "dog", "cider", "beauty", "kennels", "zzz1"]


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    """A dictionary of three nouns, one of them not to be seen."""
    entries = {"kennel": ("06", "a house for a dog"), "cider": ("13", "juice of apples"), "beauty": ("07", "a quality")}
    data, index = ["  1 licence"], ["  1 licence"]
    for number, (lemma, (kind, gloss)) in enumerate(entries.items(), 1):
        data.append(f'{number:08d} {kind} n 01 {lemma} 0 000 | {gloss}; "an example"')
        index.append(f"{lemma} n 1 0 1 0 {number:08d}")
    for part in ("noun", "verb", "adj"):
        whole = part == "noun"
        (tmp_path / f"data.{part}").write_text("\n".join(data if whole else data[:1]), encoding="utf-8")
        (tmp_path / f"index.{part}").write_text("\n".join(index if whole else index[:1]), encoding="utf-8")
    return tmp_path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A package's file with a vector a word."""
    chance = np.random.default_rng(0)
    vectors = {word: [*chance.normal(size=100).tolist(), 1.0, index] for index, word in enumerate(WORDS)}
    path = tmp_path / "vectors.json"
    path.write_text(json.dumps({"words": WORDS, "vectors": vectors}), encoding="utf-8")
    return path
