"""The wire format: whatever comes, it is a chunk or a PolicyError."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsagent.errors import PolicyError
from rsagent.policy.completions import PLAIN_SAMPLING, Answer, Chunk, events, parse_chunk, request_body
from rsagent.policy.protocol import Sampling

KEYS = ["choices", "delta", "content", "usage", "error", "logprobs", "finish_reason", "prompt_tokens", "token"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.text(max_size=30) | JSON.map(json.dumps))
def test_any_data_is_a_chunk_or_a_policy_error(data: str) -> None:
    answer = Answer(Sampling(logprobs=True, stop=("</x>",)))
    with suppress(PolicyError):
        chunk = parse_chunk(data)
        assert isinstance(chunk, Chunk)
        assert answer.add(chunk) + answer.close() == answer.text == answer.turn().text


async def test_only_data_lines_are_events() -> None:
    async def lines() -> AsyncIterator[str]:
        for line in (": ping", "event: x", "data: 1", "", "data:2", "id: 4", "data: [DONE]"):
            yield line

    assert [event async for event in events(lines())] == ["1", "2", "[DONE]"]


VLLM = {"include_stop_str_in_output", "return_tokens_as_token_ids", *PLAIN_SAMPLING}


@pytest.mark.parametrize(("vllm", "extra"), [(False, set()), (True, VLLM)])
def test_a_request_holds_what_was_asked_and_no_more(vllm: bool, extra: set[str]) -> None:
    plain = {"model", "messages", "stream", "stream_options", "temperature", "top_p", "max_tokens"}
    body: dict[str, Any] = request_body("m", [], Sampling(), vllm=vllm)
    assert set(body) == plain | extra
    full = request_body("m", [], Sampling(seed=0, stop=("x",), logprobs=True), vllm=vllm)
    assert set(full) == plain | extra | {"seed", "stop", "logprobs"}


def test_only_vllm_is_given_a_pattern() -> None:
    body = request_body("m", [], Sampling(), vllm=True, pattern="a|b")
    assert body["structured_outputs"] == {"regex": "a|b"}
    assert "structured_outputs" not in request_body("m", [], Sampling(), vllm=False, pattern="a|b")
    assert "structured_outputs" not in request_body("m", [], Sampling(), vllm=True)
