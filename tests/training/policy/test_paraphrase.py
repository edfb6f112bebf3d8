"""Requests said otherwise: what is meant stays in them, and no held-out phrasing comes of it."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsagent.training.policy.paraphrase import frame, meant, paraphrase
from rsagent.training.world.phrasing import FRAMES, framed

SEEDS = st.integers(0, 2**32)


def bare(text: str) -> str:
    return re.sub(r"[.?!,]", "", text.lower())


@given(SEEDS)
def test_what_a_training_frame_was_put_around_is_found_again(seed: int) -> None:
    text = framed("the coffee mug", "train", random.Random(seed))
    assert meant(text) in ("the coffee mug", None)
    assert meant(text) or bare(text) == "coffee mug"


@pytest.mark.parametrize("text", ["What do you drink coffee from?", "Something that meows", "coffee mug"])
def test_a_sentence_of_its_own_has_no_frame(text: str) -> None:
    assert meant(text) is None


@given(SEEDS)
def test_a_frame_keeps_one_place_and_is_never_a_held_out_one(seed: int) -> None:
    made = frame(random.Random(seed))
    assert made.count("{np}") == 1
    assert bare(made) not in {bare(one) for one in FRAMES["heldout"]}


@given(SEEDS, st.sampled_from(["find the red cup", "The cup on the left.", "where is the cup?"]))
def test_the_thing_stays_in_the_request(seed: int, text: str) -> None:
    assert "cup" in paraphrase(text, "name", random.Random(seed))


@given(SEEDS)
def test_the_side_of_a_relation_stays(seed: int) -> None:
    said = paraphrase("find the thing left of the star", "relation", random.Random(seed))
    assert "left" in said
    assert "star" in said


def test_the_same_chance_says_the_same() -> None:
    assert paraphrase("find the cup", "name", random.Random(3)) == paraphrase("find the cup", "name", random.Random(3))


def test_fillers_stand_in_frames_and_never_in_what_is_meant() -> None:
    rng = random.Random(0)
    said = [paraphrase("find the red apple", "name", rng, ["zzyzx"]) for _ in range(300)]
    assert any("zzyzx" in text for text in said)
    assert all("the red apple" in text.lower() for text in said)
