"""The in-process policy, on tiny random checkpoints of both architectures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import torch

from rsagent.deadline import Deadline
from rsagent.errors import DeadlineExceeded, Overloaded, PolicyError, ShuttingDown
from rsagent.policy.checkpoint import Checkpoint
from rsagent.policy.local import LocalPolicy
from rsagent.policy.prompt import PromptEncoder
from rsagent.policy.protocol import History, PolicyTurn, Sampling, TextDelta
from rsagent.policy.settings import LocalPolicySettings
from tests.policy.tiny import first_turn, next_turn

GREEDY = Sampling(max_tokens=12, logprobs=True)


async def turn(policy: LocalPolicy, history: History, sampling: Sampling = GREEDY) -> PolicyTurn:
    *deltas, last = [event async for event in policy.act(history, sampling, Deadline.after(60))]
    assert isinstance(last, PolicyTurn)
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == last.text
    return last


async def closed(policy: LocalPolicy) -> AsyncIterator[LocalPolicy]:
    yield policy
    await policy.close()


@pytest.fixture
async def policy(checkpoint: Checkpoint) -> AsyncIterator[LocalPolicy]:
    policy = LocalPolicy(checkpoint)
    yield policy
    await policy.close()


@pytest.fixture
async def small(qwen3: Checkpoint) -> AsyncIterator[LocalPolicy]:
    policy = LocalPolicy(qwen3, LocalPolicySettings(max_batch=1, max_waiting=1))
    yield policy
    await policy.close()


def reference(checkpoint: Checkpoint, history: History, count: int) -> tuple[list[int], list[float]]:
    """Greedy tokens of transformers' own `generate`, and their log-probabilities in one plain forward pass."""
    prompt = PromptEncoder(checkpoint).encode(history)
    pictures = [span.image.pixels for span in prompt.images]
    seen = checkpoint.image_processor(pictures, do_resize=False, return_tensors="pt")
    image_token = checkpoint.model.config.image_token_id
    inputs: dict[str, Any] = {"input_ids": prompt.ids[None], "mm_token_type_ids": (prompt.ids == image_token).int()[None]}
    with torch.inference_mode():
        out = checkpoint.model.generate(**inputs, **seen, max_new_tokens=count, do_sample=False)[0]
        tokens = out[len(prompt) :].tolist()
        kinds = (out == image_token).int()[None]
        logits = checkpoint.model(input_ids=out[None], mm_token_type_ids=kinds, **seen).logits[0]
    logprobs = torch.log_softmax(logits.float(), -1)
    return tokens, [float(logprobs[len(prompt) + number - 1, token]) for number, token in enumerate(tokens)]


async def test_greedy_equals_generate_and_a_plain_forward(checkpoint: Checkpoint, policy: LocalPolicy) -> None:
    history = next_turn(first_turn(1, checkpoint.view.factor), "<tool_call>no</tool_call>", 2, checkpoint.view.factor)
    tokens, logprobs = reference(checkpoint, history, 12)
    got = await turn(policy, history)
    assert list(got.token_ids) == tokens
    np.testing.assert_allclose(got.logprobs, logprobs, atol=2e-4)
