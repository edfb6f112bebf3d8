"""Every request is true of exactly its targets."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.material import opened

from rsagent.training.world import Recipe, Scene, World
from rsagent.training.world.knowledge import CATEGORIES, facts
from rsagent.training.world.names import clashes, entries, holds
from rsagent.training.world.phrasing import FRAMES, Voice
from rsagent.training.world.requests import KINDS, Kind, Request, requests

BUSY = Recipe(size=(160, 160), count=(4, 7), repeat=0.7, side=(0.16, 0.3))


@pytest.fixture(scope="module")
def world() -> World:
    return opened("train")


@pytest.fixture(scope="module")
def unseen() -> World:
    return opened("test")


def asked(world: World, seed: int, kind: Kind) -> tuple[Scene, tuple[Request, ...]]:
    scene = world.scene(seed, BUSY)
    return scene, requests(scene, world, seed, (kind,), each=50)


@given(seed=st.integers(0, 10**9), kind=st.sampled_from(KINDS))
@settings(max_examples=60, deadline=None)
def test_requests_are_well_formed_and_repeatable(world: World, seed: int, kind: Kind) -> None:
    scene, made = asked(world, seed, kind)
    assert made == requests(scene, world, seed, (kind,), each=50)
    for request in made:
        assert request.kind == kind
        assert request.text.strip() == request.text
        assert "{" not in request.text
        assert list(request.targets) == sorted(set(request.targets))
        assert all(0 <= i < len(scene.objects) for i in request.targets)
        assert bool(request.targets) == (kind != "absent")
        assert (request.anchor is not None) == (kind == "relation")


@pytest.mark.parametrize("voice", ["broad", "fresh"])
def test_other_voices_ask_in_their_own_phrasings_of_what_training_knows(world: World, voice: Voice) -> None:
    frames = [re.compile(re.escape(one).replace(r"\{np\}", ".+"), re.I) for one in FRAMES[voice]]
    told = {f.text.lower() for known in facts("told").values() for f in known if f.voice == "train"}
    for seed in range(12):
        for kind in KINDS:
            for request in requests(world.scene(seed, BUSY), world, seed, (kind,), each=9, voice=voice):
                text = request.text.rstrip(".")
                assert any(frame.fullmatch(text) for frame in frames) or text.lower() in told
                assert bool(request.targets) == (kind != "absent")


@given(seed=st.integers(0, 10**9))
@settings(max_examples=25, deadline=None)
def test_a_name_is_asked_for_only_when_one_object_bears_it(world: World, seed: int) -> None:
    scene, made = asked(world, seed, "name")
    for request in made:
        (target,) = request.targets
        entry = world.entries[scene.objects[target].name_id]
        assert any(holds(request.text.rstrip(".?"), phrase) for phrase in entry.phrases)
        assert [o.name for o in scene.objects].count(entry.name) == 1


@given(seed=st.integers(0, 10**9))
@settings(max_examples=25, deadline=None)
def test_attributes_choose_among_equals(world: World, seed: int) -> None:
    scene, made = asked(world, seed, "attribute")
    for request in made:
        (target,) = request.targets
        rivals = [o for i, o in enumerate(scene.objects) if o.name == request.subject and i != target]
        assert rivals
        me, text = scene.objects[target], f" {request.text.lower()}"
        if "bigger" in text or "larger" in text:
            assert all(me.mask.sum() > 1.5 * rival.mask.sum() for rival in rivals)
        if "leftmost" in text:
            assert all(me.box[0] + me.box[2] < rival.box[0] + rival.box[2] for rival in rivals)


@given(seed=st.integers(0, 10**9))
@settings(max_examples=25, deadline=None)
def test_relations_hold_for_the_masks_themselves(world: World, seed: int) -> None:
    scene, made = asked(world, seed, "relation")
    for request in made:
        assert request.anchor is not None
        assert request.anchor not in request.targets
        here = np.argwhere(scene.objects[request.targets[0]].mask).mean(0)
        there = np.argwhere(scene.objects[request.anchor].mask).mean(0)
        if " left of " in request.text:
            assert here[1] < there[1] + 8
        if " above " in request.text:
            assert here[0] < there[0] + 8


@given(seed=st.integers(0, 10**9))
@settings(max_examples=25, deadline=None)
def test_reasoning_is_true_of_the_target_alone(world: World, seed: int) -> None:
    scene, made = asked(world, seed, "reasoning")
    sentences = {fact.text.lower(): fact for known in facts("told").values() for fact in known}
    for request in made:
        assert scene.objects[request.targets[0]].name == request.subject
        for fact in (fact for text, fact in sentences.items() if text in request.text.lower()):
            assert [o.name for o in scene.objects if o.name in fact.true_of] == [request.subject]


@given(seed=st.integers(0, 10**9))
@settings(max_examples=25, deadline=None)
def test_what_is_absent_is_not_there_under_any_name(world: World, seed: int) -> None:
    scene, made = asked(world, seed, "absent")
    shown = {o.name_id for o in scene.objects} | world.in_the_ground(scene.seed)
    for request in made:
        absent = world.names.index(request.subject)
        assert absent not in shown
        assert not clashes()[absent] & shown


def test_all_kinds_occur(world: World) -> None:
    made = [request for seed in range(40) for request in requests(world.scene(seed, BUSY), world, seed)]
    assert {request.kind for request in made} == set(KINDS)


def test_other_splits_ask_in_words_training_never_hears(world: World, unseen: World) -> None:
    heard = {f.text for known in facts("told").values() for f in known if f.voice == "train"}
    for seed in range(30):
        for request in requests(unseen.scene(seed, BUSY), unseen, seed, ("reasoning",), each=50):
            assert not any(text in request.text for text in heard)
    scene = unseen.scene(0, BUSY)
    assert requests(scene, unseen, 0, voice="train") != requests(scene, unseen, 0)


def test_every_name_has_sentences_for_both_sets_and_they_do_not_name_it() -> None:
    table = {entry.name: entry for entry in entries()}
    assert set(facts()) <= set(table)
    assert len(facts()) >= 150
    for name, known in facts("told").items():
        assert {fact.voice for fact in known} == {"train", "heldout"}
        assert len(known) >= 3
        assert all(fact.also <= set(table) for fact in known)
        assert not [f.text for f in known for phrase in table[name].phrases if holds(f.text, phrase)]


def test_what_is_practised_is_told_nowhere_and_names_nothing() -> None:
    table = {entry.name: entry for entry in entries()}
    told = {fact.text for known in facts("told").values() for fact in known}
    practised = [fact for known in facts("practised").values() for fact in known]
    assert len(practised) > 3 * len(table)
    assert not told & {fact.text for fact in practised}
    assert {fact.voice for fact in practised} == {"train"}
    assert all(fact.also <= set(table) for fact in practised)
    assert not [f.text for f in practised for phrase in table[f.name].phrases if holds(f.text, phrase)]


def test_every_sentence_is_whole() -> None:
    sentences = [f.text for lore in ("told", "practised") for known in facts(lore).values() for f in known]
    assert [text for text in sentences if text != " ".join(text.split()) or text[-1] in ",;:-"] == []


def test_no_sentence_is_told_of_two_names_without_saying_so() -> None:
    told: dict[str, set[str]] = {}
    for name, known in facts("told").items():
        for fact in known:
            told.setdefault(fact.text, set()).add(name)
    assert [text for text, names in told.items() if len(names) > 1] == []


def test_categories_are_kinds_of_the_table() -> None:
    kinds = {kind for entry in entries() for kind in entry.kinds}
    assert set(CATEGORIES) <= kinds
    assert {name for _, doubtful in CATEGORIES.values() for name in doubtful} <= {e.name for e in entries()}
