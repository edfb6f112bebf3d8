"""The sizes we name build the models that are published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from segment_anything import build_sam_vit_b, build_sam_vit_h, build_sam_vit_l
from tests.segmenter.tiny import TINY, TINY_NANO, tiny_model

from rsagent.segmenter.architecture import NANO, Sam, build
from rsagent.segmenter.decoding import PromptBatch, decode
from rsagent.segmenter.details import levels_of
from rsagent.segmenter.variants import VARIANTS


def shapes(model: Sam) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "published"), [("vit_b", build_sam_vit_b), ("vit_l", build_sam_vit_l), ("vit_h", build_sam_vit_h)]
)
def test_a_variant_takes_the_published_weights(name: str, published: Callable[[], Sam]) -> None:
    with torch.device("meta"):
        ours, theirs = build(VARIANTS[name].architecture), published()
    assert shapes(ours) == shapes(theirs)
    assert repr(ours) == repr(theirs)
    for mine, other in zip(ours.image_encoder.blocks, theirs.image_encoder.blocks, strict=True):
        assert mine.window_size == other.window_size
        assert mine.attn.num_heads == other.attn.num_heads
    assert ours.image_encoder.img_size == theirs.image_encoder.img_size


def test_the_published_weights_are_pinned() -> None:
    for name in ("vit_b", "vit_l", "vit_h"):
        variant = VARIANTS[name]
        assert variant.sha256 is not None
        assert len(bytes.fromhex(variant.sha256)) == 32
        assert variant.published.startswith(f"sam_{name}_")


def test_details_lie_behind_the_embedding_in_the_same_grid() -> None:
    plain, detailed = tiny_model(), tiny_model(architecture=TINY_NANO)
    pixels = torch.zeros(2, 3, 64, 64)
    assert plain.image_encoder(pixels).shape == (2, 32, TINY.grid, TINY.grid)
    assert detailed.image_encoder(pixels).shape == (2, 4 * 32, TINY.grid, TINY.grid)


def test_a_drawn_box_is_above_zero_just_where_it_is() -> None:
    encoder = tiny_model(architecture=TINY_NANO).prompt_encoder
    drawn = encoder.drawn(torch.tensor([[8.0, 16.0, 40.0, 32.0], [0.0, 0.0, 64.0, 64.0]]))
    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[8:16, 4:20] = True  # two input pixels a cell
    assert drawn.shape == (2, 1, 32, 32)
    assert torch.equal(drawn[0, 0] > 0, inside)
    assert bool((drawn[1] > 0).all())
    assert float(drawn.abs().max()) == 8


def test_a_box_is_expected_to_be_filled_but_for_its_corners() -> None:
    encoder = tiny_model(architecture=TINY_NANO).prompt_encoder
    expected = encoder.expected(torch.tensor([[8.0, 16.0, 40.0, 32.0]]))  # cells 4 to 20 across, 8 to 16 down
    assert expected.shape == (1, 1, 32, 32)
    assert expected[0, 0, 12, 12] > 1.5
    assert expected[0, 0, 12, 4] > 0
    assert expected[0, 0, 8, 4] < 0
    assert (expected[0, 0, 20] < 0).all()
    assert float(expected.min()) == -2.0
    assert float(expected.max()) <= 2.0


def test_what_is_expected_is_added_to_the_logits_of_a_box_and_of_nothing_else() -> None:
    sure, unsure = (tiny_model(5, replace(TINY_NANO, box_prior=prior)) for prior in (0.0, 2.0))
    box, mask = torch.tensor([[8.0, 16.0, 40.0, 32.0]]), torch.randn(1, 1, 32, 32)
    features, positions = sure.image_encoder(torch.zeros(1, 3, 64, 64)), sure.prompt_encoder.get_dense_pe()
    levels = levels_of(sure.mask_decoder, features)
    gaps = []
    for prompts in (PromptBatch(box), PromptBatch(box, masks=mask)):
        first, second = (decode(model, levels, positions, prompts)[0] for model in (sure, unsure))
        gaps.append(second - first)
    torch.testing.assert_close(gaps[0], unsure.prompt_encoder.expected(box).expand(-1, 4, -1, -1), rtol=0, atol=1e-4)
    assert not gaps[1].any()


def test_an_earlier_mask_takes_the_place_of_the_drawn_box() -> None:
    encoder = tiny_model(architecture=TINY_NANO).prompt_encoder
    box, mask = torch.tensor([[8.0, 16.0, 40.0, 32.0]]), torch.randn(1, 1, 32, 32)
    _, with_box = encoder(points=None, boxes=box, masks=mask)
    _, alone = encoder(points=None, boxes=None, masks=mask)
    assert torch.equal(with_box, alone)


def test_the_packaged_one_is_small() -> None:
    with torch.device("meta"):
        model = build(NANO)
    assert 1e6 < sum(parameter.numel() for parameter in model.parameters()) < 10e6
    assert not model.training
