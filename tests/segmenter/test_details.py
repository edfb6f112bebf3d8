"""Finer features travel in the one tensor of the embedding, and the decoder makes use of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.segmenter.tiny import TINY_NANO, picture, tiny_model

from rsagent.segmenter.architecture import Sam
from rsagent.segmenter.core import Embedding, SamCore
from rsagent.segmenter.details import FusedAttention, Look, Merge, packed, unpacked
from rsagent.segmenter.protocol import Prompt

COUNT = st.integers(1, 5)


@given(COUNT, COUNT, COUNT, st.integers(1, 3), COUNT)
def test_what_is_packed_comes_out_again(coarse: int, quarter: int, half: int, batch: int, grid: int) -> None:
    torch.manual_seed(0)
    levels = (
        torch.randn(batch, coarse, grid, grid),
        torch.randn(batch, quarter, 2 * grid, 2 * grid),
        torch.randn(batch, half, 4 * grid, 4 * grid),
    )
    whole = packed(*levels)
    assert whole.shape == (batch, coarse + 4 * quarter + 16 * half, grid, grid)
    for level, again in zip(levels, unpacked(whole, coarse, quarter), strict=True):
        assert torch.equal(level, again)


def test_a_packed_cell_holds_what_lies_in_it() -> None:
    half = torch.zeros(1, 1, 16, 16)
    half[..., 4:8, 8:12] = 1  # the cell in row 1, column 2
    whole = packed(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 8, 8), half)
    lit = torch.zeros(4, 4, dtype=torch.bool)
    lit[1, 2] = True
    assert torch.equal(whole[0].any(0), lit)


@pytest.fixture(scope="module")
def nano() -> Sam:
    return tiny_model(5, TINY_NANO)


def test_an_embedding_counts_its_details(nano: Sam) -> None:
    assert SamCore(nano).encode(picture(1)).nbytes == 4 * 32 * 8 * 8 * 4


@pytest.mark.parametrize("level", [1, 2])
def test_a_detail_changes_the_mask_where_it_is(nano: Sam, level: int) -> None:
    core = SamCore(nano)
    embedding, prompt = core.encode(picture(1)), Prompt(box=(5, 5, 70, 45))
    levels = [part.clone() for part in embedding.levels]
    side = levels[level].shape[-1]
    corner = levels[level][..., : side // 8, : side // 8]
    corner += 3 * torch.randn_like(corner)
    changed = Embedding(tuple(levels), embedding.frame)
    before, after = core.decode([(embedding, prompt), (changed, prompt)])
    gap = abs(after.best.logits - before.best.logits)
    assert gap[:4, :4].max() > 1e-3
    assert gap[16:, 16:].max() < gap[:4, :4].max() / 10


def test_looking_around_is_a_small_change_at_first() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 8, 12, 12)
    with torch.no_grad():
        seen = Look(8, 8, 2)(x)
    assert 0 < float((seen - x).abs().max()) < 0.2


def test_a_merge_has_the_size_of_the_finer_level() -> None:
    merged = Merge(8, 3, 4)(torch.randn(2, 8, 5, 6), torch.randn(2, 3, 10, 12))
    assert merged.shape == (2, 4, 10, 12)


def test_fused_attention_is_sams() -> None:
    torch.manual_seed(0)
    fused = FusedAttention(32, 4)
    x = torch.randn(3, 8, 6, 32)
    torch.testing.assert_close(fused(x), super(FusedAttention, fused).forward(x), rtol=1e-4, atol=1e-5)
