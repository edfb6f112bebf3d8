"""Scenes are reproducible, exact, and within their recipe."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsagent.training.world import MaterialMissing, Recipe, Scene, World
from rsagent.training.world.names import clashes
from rsagent.training.world.stock import find

pytestmark = pytest.mark.filterwarnings("error")


def material_installed() -> bool:
    try:
        find("tuxpaint/stamps/food/fruit/apple_red.png")
        find("backgrounds/mate/nature/Dune.jpg")
    except MaterialMissing:
        return False
    return True


needs_material = pytest.mark.skipif(not material_installed(), reason="the Debian stamps and photographs are not here")
recipes = st.builds(
    Recipe,
    size=st.sampled_from([(96, 96), (120, 160), (224, 224)]),
    count=st.sampled_from([(0, 1), (1, 3), (4, 7)]),
    overlap=st.sampled_from([0.0, 0.1, 0.15]),
    repeat=st.sampled_from([0.0, 0.5, 1.0]),
)


@pytest.fixture(scope="module")
def world() -> World:
    return World("val")


def same(one: Scene, other: Scene) -> bool:
    pairs = zip(one.objects, other.objects, strict=True)
    return bool(np.array_equal(one.image, other.image)) and all(np.array_equal(a.mask, b.mask) for a, b in pairs)


@needs_material
@given(seed=st.integers(0, 2**40), recipe=recipes)
@settings(max_examples=40, deadline=None)
def test_a_scene_is_exact_and_within_its_recipe(world: World, seed: int, recipe: Recipe) -> None:
    scene = world.scene(seed, recipe)
    assert scene.image.shape == (*recipe.size, 3)
    assert scene.image.dtype == np.uint8
    assert len(scene.objects) <= recipe.count[1]
    assert not len(scene.objects) or np.sum([o.mask for o in scene.objects], axis=0).max() == 1
    for placed in scene.objects:
        assert placed.mask.shape == recipe.size
        assert placed.mask.dtype == np.bool_
        assert placed.name == world.names[placed.name_id]
        rows, columns = np.nonzero(placed.mask)
        assert placed.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    ids = {o.name_id for o in scene.objects}
    assert not any(clashes()[i] & ids for i in ids)


@needs_material
@given(seed=st.integers(0, 2**40))
@settings(max_examples=5, deadline=None)
def test_a_seed_gives_the_same_scene_again(world: World, seed: int) -> None:
    assert same(world.scene(seed), World("val").scene(seed))


@needs_material
def test_splits_differ_and_have_no_picture_in_common(world: World) -> None:
    assert not np.array_equal(world.scene(1).image, World("test").scene(1).image)


@needs_material
def test_what_an_object_covers_is_little(world: World) -> None:
    recipe = Recipe(count=(7, 7), side=(0.4, 0.6), overlap=0.0, repeat=0.0)
    alone = [world.scene(seed, recipe) for seed in range(10)]
    assert any(len(scene.objects) > 1 for scene in alone)


@needs_material
def test_repeat_brings_a_second_instance(world: World) -> None:
    scenes = [world.scene(seed, Recipe(count=(3, 4), repeat=1.0, side=(0.16, 0.2))) for seed in range(20)]
    twice = [len({o.name_id for o in s.objects}) < len(s.objects) for s in scenes]
    assert all(twice)


@needs_material
def test_only_the_first_names_appear() -> None:
    few = World("val", names=12)
    seen = {o.name for seed in range(30) for o in few.scene(seed).objects}
    assert seen == set(few.names)
    assert len(few.names) == 12


@needs_material
def test_a_chosen_cast_is_placed_in_order(world: World) -> None:
    scene = world.compose(3, ("penguin", "guitar", "penguin"), Recipe(size=(200, 260), side=(0.16, 0.25)))
    assert [o.name for o in scene.objects] == ["penguin", "guitar", "penguin"]
    with pytest.raises(ValueError, match="unicorn"):
        world.compose(3, ("unicorn",), Recipe())


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="choose train, val or test"):
        World("dev")  # type: ignore[arg-type]


@needs_material
def test_a_strange_ground_changes_the_ground_alone(world: World) -> None:
    for seed in range(8):
        plain, strange = (world.scene(seed, Recipe(count=(1, 1), strange=share)) for share in (0.0, 1.0))
        assert same(strange, world.scene(seed, Recipe(count=(1, 1), strange=1.0)))
        assert [placed.name for placed in strange.objects] == [placed.name for placed in plain.objects]
        ground = ~plain.objects[0].mask & ~strange.objects[0].mask
        assert np.abs(plain.image.astype(int) - strange.image)[ground].mean() > 1
