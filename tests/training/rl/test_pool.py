from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from tests.training.material import opened
from tests.training.policy.stages import request
from tests.training.policy.test_associations import known
from typer.testing import CliRunner

from rsagent.training.policy.lessons import Words, otherwise
from rsagent.training.rl.__main__ import app
from rsagent.training.rl.pool import Pool
from rsagent.training.world import World
from rsagent.training.world.knowledge import facts
from rsagent.training.world.phrasing import Voice

VOICES: tuple[Voice, Voice] = ("train", "broad")


@pytest.fixture(scope="module")
def world() -> World:
    return opened("train")


def test_the_same_seed_asks_the_same_and_the_kinds_take_turns(world: World) -> None:
    once, again = (Pool(world, seed=3).items(1, 6) for _ in range(2))
    assert [item.query for item in once] == [item.query for item in again]
    assert len({item.request.kind for item in once}) == 6
    assert all(item.truth.any() == (item.request.kind != "absent") for item in once)


def test_several_are_asked_about_one_scene_and_the_kinds_stay_even(world: World) -> None:
    asked = Pool(world, seed=3, each=4, voices=("train", "broad")).items(0, 12)
    scenes = Counter(id(item.scene) for item in asked)
    assert len(scenes) < 12
    assert max(scenes.values()) <= 4
    assert set(Counter(item.request.kind for item in asked).values()) == {2}
    assert [id(item.scene) for item in asked] == [place for place, times in scenes.items() for _ in range(times)]
    assert len({item.scene.seed % 2 for item in asked}) == 2  # both voices had their turn


def test_strange_grounds_change_the_picture_and_not_who_is_asked(world: World) -> None:
    plain, strange = (Pool(world, seed=3, strange=share).items(0, 1)[0] for share in (0.0, 1.0))
    assert plain.image.shape == strange.image.shape
    assert (np.abs(plain.image.astype(int) - strange.image.astype(int)).mean()) > 5


def test_practice_asks_in_sentences_that_no_supervised_stage_has_read() -> None:
    asked = Pool(World("val", lore="practised"), seed=3, kinds=("reasoning",), otherwise=0.0).items(0, 6)
    sentences = [fact.text for known in facts("practised").values() for fact in known]
    assert sum(any(text in item.query for text in sentences) for item in asked) >= 3  # the others name a category


def test_practice_asks_in_phrasings_of_its_own() -> None:
    told, practised = (Pool(World("val"), seed=3, otherwise=0.0, voices=(voice,)).items(0, 6) for voice in VOICES)
    assert [item.request.kind for item in told] == [item.request.kind for item in practised]
    assert all(one.query != other.query for one, other in zip(told, practised, strict=True))


def test_a_sentence_about_what_is_there_need_only_go_with_it_best_of_what_is_there() -> None:
    words, rng = Words((), known()), random.Random(0)
    asked = request(0, text="the barks purrs purrs purrs howls loudly", kind="reasoning")
    made = {otherwise(asked, rng, words, {"dog", "car"}, 0.0).text for _ in range(60)}
    assert len(made) > 3
    goes_with = {known().guess(text) for text in made}
    assert {known().names["dog"], known().names["cat"]} <= goes_with
    named = request(0, text="the barks")
    assert otherwise(named, rng, words, {"dog"}, 0.0).text == "the barks"


def test_what_is_learned_from_is_not_watched() -> None:
    told = CliRunner().invoke(app, ["run", "anywhere", "--split", "val"])
    assert told.exit_code == 2
    assert "--watched 0" in told.output
