"""Words: plurals, articles, frames, and nothing held out is trained on."""

from __future__ import annotations

import random
from string import Formatter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsagent.training.world.names import entries, read_table
from rsagent.training.world.phrasing import (
    ALL_PHRASES,
    EXTREME_PHRASES,
    FRAMES,
    PAIR_PHRASES,
    SIDE_PHRASES,
    THINGS,
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


PLACES: dict[str, list[list[str]]] = {
    "frame": [["np"]],
    "pair": [["a", "b"]],
    "all": [["n"], ["ns"]],
    "thing": [[]],
    **{side: [["anchor", "np"]] for side in SIDE_PHRASES},
    **{f"extreme-{which}": [["n"]] for which in EXTREME_PHRASES},
}


def test_further_phrasings_are_in_no_other_table_and_have_their_places() -> None:
    rows = [(kind, pattern) for kind, _, pattern in read_table("phrasing.tsv")]
    sides, extremes = SIDE_PHRASES.values(), EXTREME_PHRASES.values()
    tables = [FRAMES, THINGS, ALL_PHRASES, PAIR_PHRASES, *sides, *extremes]
    known = {pattern for table in tables for voice in ("train", "heldout") for pattern in table[voice]}
    assert known.isdisjoint(pattern for _, pattern in rows)
    assert len({pattern for _, pattern in rows}) == len(rows) > 500
    assert {kind for kind, _ in rows} == set(PLACES)
    for kind, pattern in rows:
        assert sorted(name for _, name, _, _ in Formatter().parse(pattern) if name) in PLACES[kind], pattern


@pytest.mark.parametrize(
    "marked", ["point me to", "as well as", "together with", "beneath", "tiniest", "from the rest"]
)
def test_what_marks_a_held_out_phrasing_is_in_none_of_them(marked: str) -> None:
    assert [pattern for _, _, pattern in read_table("phrasing.tsv") if marked in pattern.lower()] == []


def test_a_quarter_of_each_kind_is_told_to_nobody() -> None:
    for table in (FRAMES, THINGS, ALL_PHRASES, PAIR_PHRASES, *SIDE_PHRASES.values(), *EXTREME_PHRASES.values()):
        assert len(table["fresh"]) == round((len(table["fresh"]) + len(table["broad"])) / 4) > 0
