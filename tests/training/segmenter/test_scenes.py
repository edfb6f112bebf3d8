import numpy as np
import pytest
from tests.training.material import opened

from rsagent.training.segmenter.scenes import pictured
from rsagent.training.world import World


@pytest.fixture(scope="module")
def world() -> World:
    return opened("train")


def test_a_scene_has_the_size_asked_for_and_things_on_it(world: World) -> None:
    collage = pictured(world, 96, np.random.default_rng(0))
    assert max(collage.image.shape[:2]) == 96
    assert collage.image.shape[:2] == collage.owner.shape
    assert collage.image.dtype == collage.owner.dtype == np.uint8
    assert collage.objects()


def test_the_dice_decide(world: World) -> None:
    first, again, other = (pictured(world, 64, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.image, again.image)
    assert first.image.shape != other.image.shape or (first.image != other.image).any()
