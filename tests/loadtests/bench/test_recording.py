"""Recordings: the length they are asked for, whole, each with a picture of its own, and the same when read again."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from loadtests.bench import script
from loadtests.bench.recording import Library, record
from tests.loadtests.bench.staging import stage
from tokenizers import Tokenizer

from rsagent import imaging
from rsagent.policy.chat import images_of
from rsagent.settings import ImageLimits


@pytest.mark.parametrize("turns", [2, 4, 8, 9])
def test_an_episode_has_the_length_that_was_asked_for(turns: int) -> None:
    made = record(stage(), 5, turns)
    assert len(made.turns) == turns
    for place, turn in enumerate(made.turns):
        assert sum(message.role == "assistant" for message in turn.history) == place
        assert len(images_of(turn.history)) == place + 1
        assert turn.text.endswith("</tool_call>")


def test_a_turns_tokens_are_its_text_and_each_history_goes_on_from_the_last() -> None:
    staged = stage()
    tokenizer: Tokenizer = staged.tokenizer
    turns = record(staged, 1, 4).turns
    for turn, following in itertools.pairwise(turns):
        assert tokenizer.decode(list(turn.ids), skip_special_tokens=False) == turn.text
        assert following.history[: len(turn.history)] == turn.history
        assert following.history[len(turn.history)].text == turn.text


def test_the_segmenter_is_asked_something_new_each_turn_and_refines_what_it_said() -> None:
    prompts = [turn.prompt for turn in record(stage(mask_side=16), 2, 8).turns]
    asked = {(prompt.box, prompt.points, prompt.base_logits is None) for prompt in prompts}
    assert len(asked) == 8
    refined = [prompt.base_logits for prompt in prompts if prompt.base_logits is not None]
    assert len(refined) == 4
    assert all(logits.shape == (16, 16) for logits in refined)


def test_no_two_episodes_share_a_picture() -> None:
    numbers = [number + twin * script.TWINS for number in range(16) for twin in range(4)]
    assert len({script.picture(number) for number in numbers}) == 64


def test_large_pictures_have_a_megapixel() -> None:
    large = imaging.decode(script.picture(3, megapixel=True), ImageLimits())
    assert large.shape[:2] == script.MEGAPIXEL[::-1]
    assert large.shape[0] * large.shape[1] >= 1_000_000


def test_a_library_gives_back_what_it_was_given(tmp_path: Path) -> None:
    made = record(stage(), 7, 2)
    kept = Library(tmp_path)
    kept.add(made)
    found = kept.get(7)
    assert np.array_equal(found.image, made.image)
    assert (found.file, found.image_id, found.query) == (made.file, made.image_id, made.query)
    assert [turn.ids for turn in found.turns] == [turn.ids for turn in made.turns]
    assert kept.turn(7, 1).text == made.turns[1].text
    shown, known = images_of(found.turns[1].history), images_of(made.turns[1].history)
    assert [part.uuid for part in shown] == [part.uuid for part in known]
    assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(shown, known, strict=True))
