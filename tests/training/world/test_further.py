"""Every harder request is true of exactly its targets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.material import opened

from rsagent.training.world import Scene, World
from rsagent.training.world.aspects import aspects
from rsagent.training.world.combinations import held_out
from rsagent.training.world.requests import ALL_KINDS, FURTHER, KINDS, Kind, Request, requests
from rsagent.training.world.situations import SITUATIONS, Situation, needs_zoom, recipe, shows, touches

SIZE = (200, 200)


@pytest.fixture(scope="module")
def world() -> World:
    return opened("train")


def asked(world: World, seed: int, kind: Kind, situation: Situation = "repeated") -> tuple[Scene, tuple[Request, ...]]:
    scene = world.scene(seed, recipe(situation, SIZE))
    return scene, requests(scene, world, seed, (kind,), each=50)


@given(seed=st.integers(0, 10**9), kind=st.sampled_from(FURTHER), situation=st.sampled_from(SITUATIONS))
@settings(max_examples=40, deadline=None)
def test_they_are_well_formed_and_repeatable(world: World, seed: int, kind: Kind, situation: Situation) -> None:
    scene, made = asked(world, seed, kind, situation)
    assert made == asked(world, seed, kind, situation)[1]
    for request in made:
        assert request.kind == kind
        assert request.text.strip() == request.text
        assert "{" not in request.text
        assert list(request.targets) == sorted(set(request.targets))
        assert all(0 <= i < len(scene.objects) for i in request.targets)
        assert bool(request.targets) == (kind != "denied")


@given(seed=st.integers(0, 10**9))
@settings(max_examples=20, deadline=None)
def test_numbers_are_those_of_the_scene(world: World, seed: int) -> None:
    for request in asked(world, seed, "count")[1]:
        text = f" {request.text.lower()} "
        number = 2 if " both " in text or " two " in text else 3 if " three " in text else 4
        assert len(request.targets) == number or " five " in text or " six " in text


@given(seed=st.integers(0, 10**9))
@settings(max_examples=20, deadline=None)
def test_places_in_a_row_are_counted_from_the_right_side(world: World, seed: int) -> None:
    scene, made = asked(world, seed, "ordinal")
    for request in made:
        (target,) = request.targets
        middles = [np.argwhere(placed.mask)[:, 1].mean() for placed in scene.objects]
        if "second" in request.text.lower() and scene.objects[target].name in request.text:
            same = [m for m, o in zip(middles, scene.objects, strict=True) if o.name == scene.objects[target].name]
            side = sorted(same, reverse="right" in request.text)
            assert abs(side[1] - middles[target]) < 0.12 * SIZE[1]


@given(seed=st.integers(0, 10**9), kind=st.sampled_from(("knowledge", "shared")))
@settings(max_examples=30, deadline=None)
def test_facts_are_true_of_the_targets_alone_and_nobody_would_argue(world: World, seed: int, kind: Kind) -> None:
    scene, made = asked(world, seed, kind, "crowded")
    for request in made:
        said = [
            fact for fact in aspects() if any(saying in request.text.lower() for saying in map(str.lower, fact.sayings))
        ]
        true = [f for f in said if {o.name for i, o in enumerate(scene.objects) if i in request.targets} <= f.true_of]
        assert true
        meant = [i for i, placed in enumerate(scene.objects) if placed.name in true[0].true_of]
        assert tuple(meant) == request.targets
        assert not any(placed.name in true[0].arguable for placed in scene.objects)


@given(seed=st.integers(0, 10**9))
@settings(max_examples=20, deadline=None)
def test_all_but_one_leaves_that_one_out(world: World, seed: int) -> None:
    scene, made = asked(world, seed, "except", "crowded")
    for request in made:
        assert 0 < len(request.targets) < len(scene.objects)


def test_held_out_facts_are_asked_of_other_splits_alone(world: World) -> None:
    unseen = opened("test")
    held = [s for f in aspects() if f.voice == "heldout" for s in f.sayings]
    heard = [s for f in aspects() if f.voice == "train" for s in f.sayings if not any(s in h for h in held)]
    for seed in range(25):
        for request in asked(world, seed, "knowledge", "crowded")[1]:
            assert any(saying in request.text for saying in heard) or not any(s in request.text for s in held)
        for request in asked(unseen, seed, "knowledge", "crowded")[1]:
            assert any(saying in request.text for saying in held)


def test_all_kinds_occur(world: World) -> None:
    seen = {
        request.kind
        for seed in range(30)
        for situation in ("repeated", "crowded")
        for request in requests(world.scene(seed, recipe(situation, SIZE)), world, seed, ALL_KINDS)
    }
    assert seen == set(ALL_KINDS)
    assert ALL_KINDS[: len(KINDS)] == KINDS


def test_small_scenes_have_small_targets_and_touching_ones_touch(world: World) -> None:
    small = [world.scene(seed, recipe("small", SIZE)) for seed in range(12)]
    assert sum(any(needs_zoom(scene, i) for i in range(len(scene.objects))) for scene in small) >= 8
    close = [world.scene(seed, recipe("touching", SIZE)) for seed in range(12)]
    assert sum(any(touches(scene, i) for i in range(len(scene.objects))) for scene in close) >= 9


def test_a_request_shows_what_its_situation_is_for(world: World) -> None:
    for seed in range(8):
        scene = world.scene(seed, recipe("small", SIZE))
        for request in requests(scene, world, seed, ("name",)):
            assert shows("small", scene, request) == needs_zoom(scene, request.targets[0])
            assert shows("plain", scene, request)


def test_pairs_of_the_other_split_never_meet_in_training_and_do_in_the_novel_scenes(world: World) -> None:
    def pairs(scene: Scene) -> set[tuple[str, str]]:
        names = {placed.name for placed in scene.objects}
        return {(a, b) for a in names for b in names if held_out(a, b)}

    assert not any(pairs(world.scene(seed, recipe("crowded", SIZE, "seen"))) for seed in range(12))
    # Now and then one of the two finds no room.
    assert sum(bool(pairs(world.scene(seed, recipe("plain", SIZE, "novel")))) for seed in range(12)) >= 10


def test_the_split_of_pairs_has_no_order_and_no_pair_of_one() -> None:
    assert held_out("dog", "guitar") == held_out("guitar", "dog")
    assert not held_out("dog", "dog")
