"""The core is SAM: `SamPredictor` on the same weights is what each answer is held to."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from segment_anything import SamPredictor
from segment_anything.utils.transforms import ResizeLongestSide
from tests.segmenter.tiny import TINY_NANO, picture, tiny_model

from rsagent.errors import BadRequest
from rsagent.segmenter.architecture import Sam
from rsagent.segmenter.core import Decoded, InputFrame, SamCore, ambiguous
from rsagent.segmenter.protocol import Image, Logits, Prompt

BOX = (10.0, 8.5, 39.25, 41.0)
INSIDE = (30.0, 20.0, 1)
OUTSIDE = (38.0, 45.0, 0)
SIZES = [(50, 80), (90, 40), (64, 64), (33, 47), (300, 200)]


def logits(seed: int = 3) -> Logits:
    return np.random.default_rng(seed).normal(0, 4, (32, 32)).astype(np.float32)


PROMPTS = {
    "box": Prompt(box=BOX),
    "point": Prompt(points=(INSIDE,)),
    "points": Prompt(points=(INSIDE, OUTSIDE, (3.5, 4.0, 1))),
    "box and point": Prompt(box=BOX, points=(INSIDE,)),
    "box and points": Prompt(box=BOX, points=(INSIDE, OUTSIDE)),
    "point and mask": Prompt(points=(INSIDE,), base_logits=logits(4)),
    "box and mask": Prompt(box=BOX, base_logits=logits()),
    "all": Prompt(box=BOX, points=(INSIDE, OUTSIDE), base_logits=logits()),
    "mask": Prompt(base_logits=logits()),
}
LONE = {"box", "point"}


def hold_to_predictor(model: Sam, core: SamCore, image: Image, prompt: Prompt, several: bool) -> None:
    """The same candidates in the order of their scores, and the best one's mask at the image's size."""
    predictor = SamPredictor(model)
    predictor.set_image(image)
    points = np.array(prompt.points) if prompt.points else None
    whole, scores, low = predictor.predict(
        point_coords=None if points is None else points[:, :2],
        point_labels=None if points is None else points[:, 2],
        box=None if prompt.box is None else np.array(prompt.box),
        mask_input=None if prompt.base_logits is None else prompt.base_logits[None],
        multimask_output=several,
        return_logits=True,
    )
    found = core.decode([(core.encode(image), prompt)])[0]
    order = np.argsort(-scores)
    assert [candidate.score for candidate in found.candidates] == pytest.approx(scores[order].tolist(), abs=1e-5)
    for candidate, row in zip(found.candidates, order, strict=True):
        np.testing.assert_allclose(candidate.logits, low[row], atol=1e-4)
    best = whole[order[0]]
    certain = np.abs(best) > 1e-4  # elsewhere rounding decides
    np.testing.assert_array_equal(found.best.mask[certain], (best > 0)[certain])
    assert found.best.mask.shape == image.shape[:2]
    assert found.best.mask.dtype == np.bool_


def same(one: Decoded, other: Decoded) -> None:
    assert [c.score for c in one.candidates] == pytest.approx([c.score for c in other.candidates], abs=1e-5)
    for mine, theirs in zip(one.candidates, other.candidates, strict=True):
        np.testing.assert_allclose(mine.logits, theirs.logits, atol=1e-4)
    assert (one.best.mask != other.best.mask).mean() < 1e-3


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("size", SIZES)
def test_the_answer_is_sam_predictors(model: Sam, core: SamCore, name: str, size: tuple[int, int]) -> None:
    hold_to_predictor(model, core, picture(1, *size), PROMPTS[name], several=name in LONE)


@pytest.fixture(scope="module")
def nano() -> Sam:
    return tiny_model(5, TINY_NANO)


@pytest.mark.parametrize("name", PROMPTS)
def test_so_it_is_with_what_the_packaged_one_adds(nano: Sam, name: str) -> None:
    hold_to_predictor(nano, SamCore(nano), picture(2), PROMPTS[name], several=name in LONE)


@pytest.mark.parametrize("name", PROMPTS)
def test_only_a_lone_hint_is_ambiguous(name: str) -> None:
    assert ambiguous(PROMPTS[name]) == (name in LONE)


def test_the_prompts_tell_masks_apart(core: SamCore) -> None:
    """Without this, equality with the predictor would prove little."""
    embedding = core.encode(picture(1))
    found = core.decode([(embedding, prompt) for prompt in PROMPTS.values()])
    for one, other in itertools.combinations(found, 2):
        assert np.abs(one.best.logits - other.best.logits).max() > 1e-2
    assert any(0.02 < answer.best.mask.mean() < 0.98 for answer in found)


@pytest.mark.parametrize("added", [False, True])
def test_prompts_of_different_images_decode_together_as_they_do_alone(model: Sam, nano: Sam, added: bool) -> None:
    core = SamCore(nano if added else model)
    embeddings = [core.encode(picture(seed, 40 + 9 * seed, 70)) for seed in range(3)]
    requests = list(itertools.product(embeddings, PROMPTS.values()))
    requests = [requests[i] for i in np.random.default_rng(0).permutation(len(requests))]
    for request, answer in zip(requests, core.decode(requests), strict=True):
        same(answer, core.decode([request])[0])
        assert answer.best.mask.shape == (request[0].frame.height, request[0].frame.width)


@pytest.mark.parametrize("added", [False, True])
def test_a_carried_mask_counts_for_its_own_prompt_only(model: Sam, nano: Sam, added: bool) -> None:
    core = SamCore(nano if added else model)
    embedding = core.encode(picture(1))
    bare, carried = Prompt(box=BOX, points=(INSIDE,)), Prompt(box=BOX, points=(INSIDE,), base_logits=logits())
    without, with_mask = core.decode([(embedding, bare), (embedding, carried)])
    same(without, core.decode([(embedding, bare)])[0])
    assert np.abs(without.best.logits - with_mask.best.logits).max() > 1e-2


def test_no_prompts_no_answers(core: SamCore) -> None:
    assert core.decode([]) == []


def test_images_matter(core: SamCore) -> None:
    first, second = (core.decode([(core.encode(picture(seed)), Prompt(box=BOX))])[0] for seed in (1, 2))
    assert not np.allclose(first.best.logits, second.best.logits, atol=1e-3)


def test_a_lone_hint_gives_three_candidates_best_first(core: SamCore) -> None:
    answer = core.decode([(core.encode(picture(1)), Prompt(points=(INSIDE,)))])[0]
    scores = [candidate.score for candidate in answer.candidates]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert answer.best.score == scores[0]
    np.testing.assert_array_equal(answer.best.logits, answer.candidates[0].logits)


def test_an_answer_can_be_carried_into_the_next_prompt(core: SamCore) -> None:
    embedding = core.encode(picture(1))
    first = core.decode([(embedding, Prompt(box=BOX))])[0].best
    assert first.logits.shape == (core.mask_side, core.mask_side)
    assert first.logits.dtype == np.float32
    again = core.decode([(embedding, Prompt(points=(OUTSIDE,), base_logits=first.logits))])[0]
    assert len(again.candidates) == 1


@pytest.mark.parametrize("size", [(1, 500), (500, 1), (1, 1), (3, 3)])
def test_images_of_any_shape_are_taken(core: SamCore, size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 90, np.uint8)
    answer = core.decode([(core.encode(image), Prompt(points=((0.0, 0.0, 1),)))])[0]
    assert answer.best.mask.shape == size


def test_a_view_of_an_image_is_taken(core: SamCore) -> None:
    whole = picture(1, 100, 160)
    crop = whole[10:60:1, 5:155:2, ::-1]
    same(*(core.decode([(core.encode(image), Prompt(box=BOX))])[0] for image in (crop, crop.copy())))


def test_nothing_to_go_by_is_refused(core: SamCore) -> None:
    with pytest.raises(BadRequest, match="box, a point or an earlier mask"):
        core.decode([(core.encode(picture(1)), Prompt())])


@pytest.mark.parametrize("shape", [(256, 256), (1, 32, 32), (32, 31)])
def test_logits_of_another_model_are_refused(core: SamCore, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadRequest, match=r"\(32, 32\)"):
        core.check(Prompt(box=BOX, base_logits=np.zeros(shape, np.float32)))


def test_the_model_is_frozen_and_its_embeddings_know_their_size(core: SamCore) -> None:
    embedding = core.encode(picture(1))
    assert not any(level.requires_grad for level in embedding.levels)
    assert embedding.nbytes == 32 * 8 * 8 * 4


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([64, 256, 1024]))
def test_the_frame_is_resize_longest_side(height: int, width: int, side: int) -> None:
    frame = InputFrame.of(height, width, side)
    theirs = ResizeLongestSide.get_preprocess_shape(height, width, side)
    assert (frame.input_height, frame.input_width) == tuple(max(1, length) for length in theirs)
    assert max(frame.input_height, frame.input_width) == side


UNIT = st.floats(0, 1)


@given(st.integers(1, 5000), st.integers(1, 5000), st.lists(st.tuples(UNIT, UNIT), min_size=1, max_size=5))
def test_points_of_the_image_are_points_of_the_input(
    height: int, width: int, places: list[tuple[float, float]]
) -> None:
    frame = InputFrame.of(height, width, 1024)
    inside = np.array(places) * [width, height]
    moved = frame.to_input(inside)
    np.testing.assert_allclose(moved, np.array(places) * [frame.input_width, frame.input_height], atol=1e-9)
    if 0 not in ResizeLongestSide.get_preprocess_shape(height, width, 1024):
        np.testing.assert_allclose(moved, ResizeLongestSide(1024).apply_coords(inside, (height, width)))
    assert moved.dtype == np.float64


@pytest.mark.parametrize("size", SIZES)
def test_upscaling_is_sams(model: Sam, core: SamCore, size: tuple[int, int]) -> None:
    frame = InputFrame.of(*size, core.side)
    low = torch.from_numpy(logits())
    wanted = model.postprocess_masks(low[None, None], (frame.input_height, frame.input_width), size)[0, 0]
    torch.testing.assert_close(core.upscale(low, frame), wanted)


def test_in_bfloat16_the_masks_are_nearly_the_same(model: Sam) -> None:
    whole, half = SamCore(model), SamCore(model, half=True)
    image = picture(4)
    one, other = whole.encode(image), half.encode(image)
    assert {level.dtype for level in (*one.levels, *other.levels)} == {torch.float32}
    assert not torch.equal(one.levels[0], other.levels[0])
    for name in ("box", "all"):
        [exact], [near] = whole.decode([(one, PROMPTS[name])]), half.decode([(other, PROMPTS[name])])
        assert near.best.logits.dtype == np.float32
        assert (exact.best.mask == near.best.mask).mean() > 0.9
