from __future__ import annotations

import re

import pytest

from rsagent.training.synthesis.wording import PHRASES, missing, phrase, seek, thoughts, together

PLACES = re.compile(r"\b(left|right|top|bottom|above|below|upper|lower|middle|corner)\b")


@pytest.mark.parametrize("situation", PHRASES)
def test_every_thought_names_the_thing_first_and_never_says_a_place(situation: str) -> None:
    for pick, template in enumerate(PHRASES[situation]):
        said = phrase(situation, "dog", "cat", pick)
        assert "{" not in said
        assert not PLACES.search(template)
        assert re.match(r"((Next|Then|Now): )?The dog\.", said)


def test_names_of_more_than_one_take_the_plural() -> None:
    assert phrase("seek", "scissors", pick=1) == "The scissors. Mark them."
    assert phrase("wrong", "dog", "grapes") == "The dog. No, that are the grapes."


def test_proper_names_have_no_article_where_they_are_found() -> None:
    assert phrase("wrong", "dog", "santa claus") == "The dog. No, that is santa claus."


def test_every_thought_is_told_to_the_tokenizer() -> None:
    said = set(thoughts("dog"))
    assert {seek("dog"), missing("dog"), together(3), phrase("fits", "dog", pick=2)} <= said
