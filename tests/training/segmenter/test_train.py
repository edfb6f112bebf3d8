import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.training.segmenter.stock import material

from rsagent.segmenter import lite
from rsagent.segmenter.core import SamCore
from rsagent.training.segmenter import train as training
from rsagent.training.segmenter.collage import Collage, compose
from rsagent.training.segmenter.train import Recipe


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setattr(training, "gather", lambda cliparts, cache: material())
    return Recipe(out=tmp_path / "run", minutes=0.01, side=64, images=1, each=3, refine=1.0)


def steps(recipe: Recipe) -> list[int]:
    return [json.loads(line)["step"] for line in (recipe.out / "log.jsonl").read_text().splitlines()]


def test_training_leaves_weights_that_load(recipe: Recipe) -> None:
    training.train(recipe)
    core = SamCore(training.load(recipe.out / "mean.safetensors", 64))
    assert core.mask_side == 32
    assert steps(recipe)


def test_an_interrupted_run_goes_on(recipe: Recipe) -> None:
    training.train(recipe)
    before = steps(recipe)
    training.train(replace(recipe, minutes=recipe.minutes + 0.01))
    after = steps(recipe)
    assert after[: len(before)] == before
    assert after == list(range(1, len(after) + 1))


def test_the_next_stage_starts_from_the_last_ones_weights(recipe: Recipe) -> None:
    training.train(recipe)
    weights = load_file(recipe.out / "mean.safetensors")
    larger = training.fresh(128)
    training._inherit(larger, weights)
    key = "mask_decoder.iou_token.weight"
    torch.testing.assert_close(larger.state_dict()[key], weights[key])
    assert larger.image_encoder.pos_embed.shape[1:3] == (16, 16)


def test_the_last_stage_leaves_the_encoder_alone(recipe: Recipe) -> None:
    training.train(recipe)
    start = recipe.out / "mean.safetensors"
    last = replace(recipe, out=recipe.out.parent / "last", start=start, decoder_only=True)
    training.train(last)
    before, after = load_file(start), load_file(last.out / "mean.safetensors")
    same = {name for name, value in before.items() if torch.allclose(value, after[name], atol=1e-6)}
    assert {name for name in before if name.startswith("image_encoder.")} <= same
    assert "mask_decoder.iou_token.weight" not in same


def test_the_mask_that_is_carried_over_is_the_one_believed_best() -> None:
    logits = torch.arange(8.0).reshape(2, 4, 1, 1)
    scores = torch.tensor([[0.9, 0.1, 0.3, 0.2], [0.0, 0.5, 0.4, 0.4]])
    assert training._favourite(logits, scores).flatten().tolist() == [2, 5]


def test_scenes_of_the_world_are_taken_in(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []

    def pictured(world: object, side: int, rng: np.random.Generator) -> Collage:
        taken.append(side)
        return compose(material(), side, rng)

    monkeypatch.setattr(training, "World", lambda split: split)
    monkeypatch.setattr(training, "pictured", pictured)
    training.train(replace(recipe, scenes=1.0))
    assert taken
    assert set(taken) == {64}


def test_the_backbone_stays_as_it_was_published(recipe: Recipe) -> None:
    training.train(recipe)
    weights = load_file(recipe.out / "mean.safetensors")
    published = lite.backbone()
    assert published
    for name, value in published.items():
        torch.testing.assert_close(weights[lite.PLACE + name], value)


@pytest.mark.parametrize("change", [{"dense_only": True}, {"ellipses": 100}])
def test_the_lessons_before_the_main_one(recipe: Recipe, change: dict[str, object]) -> None:
    training.train(replace(recipe, **change))  # type: ignore[arg-type]
    assert steps(recipe)
