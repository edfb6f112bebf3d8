"""Words: plurals, articles, frames, and nothing held out is trained on."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsagent.training.world.names import entries
from rsagent.training.world.phrasing import (
    ALL_PHRASES,
    EXTREME_PHRASES,
    FRAMES,
    PAIR_PHRASES,
    SIDE_PHRASES,
    definite,
    framed,
    is_plural,
    plural,
)


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("apple", "apples"),
        ("fox", "foxes"),
        ("mouse", "mice"),
        ("sheep", "sheep"),
        ("bunch of grapes", "bunches of grapes"),
        ("fire truck", "fire trucks"),
        ("monkey", "monkeys"),
        ("puppy", "puppies"),
        ("scissors", "scissors"),
        ("hat with a feather", "hats with a feather"),
    ],
)
def test_plurals(one: str, many: str) -> None:
    assert plural(one) == many


def test_articles_and_verbs() -> None:
    assert definite("apple") == "the apple"
    assert definite("santa claus") == "santa claus"
    assert is_plural("the scissors")
    assert is_plural("the apple and the drum")
    assert not is_plural("the apple")
    assert not is_plural("the insect with black dots and wings")


@given(st.sampled_from([phrase for entry in entries() for phrase in entry.phrases]), st.integers(0, 1000))
def test_a_frame_keeps_the_phrase(noun: str, seed: int) -> None:
    for voice in FRAMES:
        assert noun in framed(definite(noun), voice, random.Random(seed)).lower()


def test_held_out_wordings_are_not_trained_on() -> None:
    tables = [*EXTREME_PHRASES.values(), *SIDE_PHRASES.values(), ALL_PHRASES, PAIR_PHRASES]
    assert all(not set(table["train"]) & set(table["heldout"]) for table in tables)
    assert set(FRAMES["train"]) & set(FRAMES["heldout"]) == {"{np}"}
