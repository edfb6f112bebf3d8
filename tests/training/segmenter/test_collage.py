import numpy as np
import pytest
from tests.training.segmenter.stock import material

from rsagent.training.segmenter import shapes
from rsagent.training.segmenter.collage import compose


@pytest.mark.parametrize("seed", range(12))
def test_a_collage_is_a_picture_with_owners(seed: int) -> None:
    collage = compose(material(), 96, np.random.default_rng(seed))
    assert collage.image.dtype == np.uint8
    assert collage.image.shape == (*collage.owner.shape, 3)
    assert max(collage.owner.shape) == 96
    assert collage.objects()
    for number in collage.objects():
        assert (collage.owner == number).sum() >= 40


def test_the_same_seed_gives_the_same_collage() -> None:
    first, second = (compose(material(), 96, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.owner, second.owner)


def test_seeds_differ() -> None:
    first, second = (compose(material(), 96, np.random.default_rng(seed)) for seed in (1, 2))
    assert first.image.shape != second.image.shape or (first.image != second.image).any()


@pytest.mark.parametrize("draw", [shapes.blob, shapes.polygon, shapes.limbs])
@pytest.mark.parametrize("seed", range(5))
def test_silhouettes_are_something_and_not_everything(draw: object, seed: int) -> None:
    assert callable(draw)
    alpha = draw(np.random.default_rng(seed))
    assert alpha.dtype == np.float32
    assert alpha.min() >= 0
    assert alpha.max() <= 1
    assert 0.01 < (alpha > 0.5).mean() < 0.99


def test_punching_takes_away_only() -> None:
    rng = np.random.default_rng(0)
    whole = shapes.blob(rng)
    assert (shapes.punched(whole, rng) <= whole).all()


def test_regions_divide_all_of_the_area() -> None:
    which = shapes.regions((40, 60), 3, np.random.default_rng(1))
    assert which.shape == (40, 60)
    assert set(np.unique(which)) <= {0, 1, 2}
