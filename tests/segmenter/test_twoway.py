"""Computed from the side of the tokens, SAM's two-way transformer gives what it gives."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from segment_anything.modeling import TwoWayTransformer
from tests.segmenter.tiny import TINY, TINY_NANO, tiny_model

from rsagent.segmenter.twoway import attend

COUNT = st.integers(1, 4)


def shaken(heads: int, depth: int) -> TwoWayTransformer:
    """One whose biases and norms are not what they begin with: zeros and ones would hide what is left out."""
    torch.manual_seed(0)
    transformer = TwoWayTransformer(depth, 16, heads, 24)
    for parameter in transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return transformer


@given(
    prompts=COUNT, tokens=st.integers(1, 40), height=COUNT, width=COUNT, heads=st.sampled_from([1, 2, 4]), depth=COUNT
)
def test_it_is_sams(prompts: int, tokens: int, height: int, width: int, heads: int, depth: int) -> None:
    transformer = shaken(heads, depth)
    source, places = torch.randn(prompts, 16, height, width), torch.randn(1, 16, height, width)
    asked = torch.randn(prompts, tokens, 16)
    with torch.no_grad():
        theirs = transformer(source, places.expand(prompts, -1, -1, -1), asked)
        ours = attend(transformer, source, places, asked)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-3)


def test_it_learns_as_sams_does() -> None:
    transformer = shaken(2, 2).double()
    source, asked = torch.randn(2, 16, 3, 5, dtype=torch.double), torch.randn(2, 7, 16, dtype=torch.double)
    places = torch.randn(1, 16, 3, 5, dtype=torch.double)
    theirs = gradients(transformer, transformer(source, places.expand(2, -1, -1, -1), asked))
    ours = gradients(transformer, attend(transformer, source, places, asked))
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours.get(name, torch.zeros_like(gradient)), gradient, rtol=1e-6, atol=1e-6)


def gradients(transformer: TwoWayTransformer, outputs: tuple[torch.Tensor, ...]) -> dict[str, torch.Tensor]:
    transformer.zero_grad()
    torch.stack([output.pow(3).sum() for output in outputs]).sum().backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in transformer.named_parameters() if p.grad is not None}


def test_our_models_have_one_that_it_computes() -> None:
    for architecture in (TINY, TINY_NANO):
        assert isinstance(tiny_model(architecture=architecture).mask_decoder.transformer, TwoWayTransformer)
