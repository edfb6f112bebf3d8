from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.training.policy.stages import scribe

from rsagent.training.policy.shape import MARKUP_TOKENS, SPECIAL_TOKENS

SKELETON = '{"name": "segment", "arguments": {"bbox_2d": ['


@given(st.text(max_size=60))
def test_any_text_survives_the_round_trip(text: str) -> None:
    tokenizer = scribe().tokenizer
    if not any(token in text for token in (*SPECIAL_TOKENS, *MARKUP_TOKENS)):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("number", [0, 7, 10, 99, 100, 512, 999])
def test_a_number_is_one_token(number: int) -> None:
    assert len(scribe().tokenizer.encode(str(number))) == 1


def test_a_call_is_its_skeleton_and_its_numbers() -> None:
    tokenizer = scribe().tokenizer
    pieces = tokenizer.convert_ids_to_tokens(tokenizer.encode(SKELETON + "8, 16, 24, 992]}}"))
    assert len(pieces) == 1 + 4 + 3 + 1


@pytest.mark.parametrize("token", [*SPECIAL_TOKENS, *MARKUP_TOKENS])
def test_markup_is_one_token(token: str) -> None:
    assert len(scribe().tokenizer.encode(f"a{token}b")) == 3


def test_chat_template_places_one_picture_where_its_part_stands() -> None:
    parts = [{"type": "image"}, {"type": "text", "text": "find the dog"}]
    text = scribe().tokenizer.apply_chat_template(
        [{"role": "system", "content": "Segment."}, {"role": "user", "content": parts}],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert text == (
        "<|im_start|>system\nSegment.<|im_end|>\n<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>"
        "find the dog<|im_end|>\n<|im_start|>assistant\n"
    )
