"""Tokens as text, piece by piece."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from rsagent.policy.textstream import TextStream

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


def byte_tokenizer() -> Tokenizer:
    """One token a byte: every character of several bytes comes in pieces."""
    tokenizer = Tokenizer(models.BPE({symbol: number for number, symbol in enumerate(BYTES)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


TOKENIZER = byte_tokenizer()


def feed(text: str, stop: tuple[str, ...] = (), cut: int | None = None) -> tuple[list[str], TextStream]:
    stream = TextStream(TOKENIZER, stop)
    pieces = []
    for token in TOKENIZER.encode(text, add_special_tokens=False).ids[:cut]:
        if not stream.stopped:
            pieces.append(stream.push(token))
    return [*pieces, stream.flush()], stream


@given(st.text(max_size=30))
def test_the_pieces_are_the_text(text: str) -> None:
    pieces, stream = feed(text)
    assert "".join(pieces) == stream.text == text
    assert not stream.stopped


@given(st.text("ab<>", max_size=30), st.text("ab<>", min_size=1, max_size=3))
def test_a_stop_string_ends_the_text_behind_it(text: str, stop: str) -> None:
    pieces, stream = feed(text, (stop,))
    assert stream.stopped == (stop in text)
    assert "".join(pieces) == stream.text == (text[: text.index(stop) + len(stop)] if stop in text else text)


def test_characters_come_whole() -> None:
    pieces, _ = feed("é東")
    assert [piece for piece in pieces if piece] == ["é", "東"]


def test_an_unfinished_character_is_shown_as_such() -> None:
    pieces, stream = feed("a東", cut=3)
    assert pieces[0] == "a"
    assert stream.text.startswith("a\ufffd")


@pytest.mark.parametrize("stop", [(), ("",), ("never", "")])
def test_empty_stop_strings_stop_nothing(stop: tuple[str, ...]) -> None:
    assert feed("abc", stop)[1].text == "abc"
