"""The in-process policy, on tiny random checkpoints of both architectures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import torch
from tests.policy.tiny import first_turn, next_turn

from rsagent.deadline import Deadline
from rsagent.errors import DeadlineExceeded, Overloaded, PolicyError, ShuttingDown
from rsagent.policy.checkpoint import Checkpoint
from rsagent.policy.local import LocalPolicy
from rsagent.policy.prompt import PromptEncoder
from rsagent.policy.protocol import History, PolicyTurn, Sampling, TextDelta
from rsagent.policy.settings import LocalPolicySettings

GREEDY = Sampling(max_tokens=12, logprobs=True)
LONG = Sampling(max_tokens=900)


async def turn(policy: LocalPolicy, history: History, sampling: Sampling = GREEDY) -> PolicyTurn:
    *deltas, last = [event async for event in policy.act(history, sampling, Deadline.after(60))]
    assert isinstance(last, PolicyTurn)
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == last.text
    return last


async def until(condition: Any) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it did not come to be within 10 s"
        await asyncio.sleep(0.005)


@pytest.fixture
async def policy(checkpoint: Checkpoint) -> AsyncIterator[LocalPolicy]:
    policy = LocalPolicy(checkpoint)
    yield policy
    await policy.close()


@pytest.fixture
async def narrow(endless: Checkpoint) -> AsyncIterator[LocalPolicy]:
    """One row, one waiting place, and turns that do not end by themselves."""
    policy = LocalPolicy(endless, LocalPolicySettings(max_batch=1, max_waiting=1))
    yield policy
    await policy.close()


def reference(checkpoint: Checkpoint, history: History, count: int) -> tuple[list[int], list[float]]:
    """Greedy tokens of transformers' own `generate`, and their log-probabilities in one plain forward pass."""
    prompt = PromptEncoder(checkpoint).encode(history)
    image_token = checkpoint.model.config.image_token_id
    pictures = [span.image.pixels for span in prompt.images]
    seen = dict(checkpoint.image_processor(pictures, do_resize=False, return_tensors="pt")) if pictures else {}
    with torch.inference_mode():
        kinds = (prompt.ids == image_token).int()[None]
        out = checkpoint.model.generate(
            input_ids=prompt.ids[None], mm_token_type_ids=kinds, **seen, max_new_tokens=count, do_sample=False
        )[0]
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


async def test_text_alone_equals_generate(checkpoint: Checkpoint, policy: LocalPolicy) -> None:
    history = first_turn(1, checkpoint.view.factor)[:1]
    assert list((await turn(policy, history)).token_ids) == reference(checkpoint, history, 12)[0]


async def test_turns_generated_together_equal_turns_alone(checkpoint: Checkpoint, policy: LocalPolicy) -> None:
    histories = [first_turn(seed, checkpoint.view.factor, "the bell " * (1 + seed % 4)) for seed in range(6)]
    samplings = [Sampling(max_tokens=4 + 3 * seed, logprobs=True) for seed in range(6)]
    alone = [await turn(policy, history, sampling) for history, sampling in zip(histories, samplings, strict=True)]
    policy.forget()
    together = await asyncio.gather(*map(turn, [policy] * 6, histories, samplings))
    assert [each.token_ids for each in together] == [each.token_ids for each in alone]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=2e-4)


async def test_a_later_turn_reads_only_what_is_new(checkpoint: Checkpoint, policy: LocalPolicy) -> None:
    history = first_turn(3, checkpoint.view.factor)
    first = await turn(policy, history)
    history = next_turn(history, first.text, 1, checkpoint.view.factor)
    reused = await turn(policy, history)
    # All of the first prompt; of its answer, as much as the tokenizer spells the same way.
    assert first.prompt_tokens <= reused.cached_tokens < reused.prompt_tokens
    assert policy.stats().image_encodes == 2
    policy.forget()
    fresh = await turn(policy, history)
    assert fresh.cached_tokens == 0
    assert fresh.token_ids == reused.token_ids
    np.testing.assert_allclose(fresh.logprobs, reused.logprobs, atol=2e-4)


async def test_the_same_prompt_again_is_read_from_its_last_token(qwen3: Checkpoint) -> None:
    policy = LocalPolicy(qwen3)
    history = first_turn(4, qwen3.view.factor)
    first, second = await turn(policy, history), await turn(policy, history)
    assert second.cached_tokens == second.prompt_tokens - 1
    assert second.token_ids == first.token_ids
    await policy.close()


async def test_rollouts_of_one_prompt_share_its_reading(qwen3: Checkpoint) -> None:
    policy = LocalPolicy(qwen3)
    history = first_turn(5, qwen3.view.factor)
    sampling = [Sampling(temperature=1.0, seed=seed, max_tokens=8, logprobs=True) for seed in range(4)]
    turns = await asyncio.gather(*(turn(policy, history, each) for each in sampling))
    assert policy.stats().image_encodes == 1
    assert sum(each.cached_tokens > 0 for each in turns) >= 3
    assert len({each.token_ids for each in turns}) > 1
    again = await turn(policy, history, sampling[2])
    assert again.token_ids == turns[2].token_ids
    await policy.close()


async def test_a_zero_cache_keeps_nothing(qwen3: Checkpoint) -> None:
    policy = LocalPolicy(qwen3, LocalPolicySettings(prefix_cache_bytes=0, image_cache_bytes=0))
    history = first_turn(4, qwen3.view.factor)
    assert [(await turn(policy, history)).cached_tokens for _ in range(2)] == [0, 0]
    assert policy.stats().kept_bytes == 0
    await policy.close()


async def test_a_stop_string_ends_the_turn_and_is_kept(qwen3: Checkpoint) -> None:
    policy = LocalPolicy(qwen3)
    history = first_turn(1, qwen3.view.factor)
    whole = await turn(policy, history)
    stop = whole.text[2:4]
    cut = await turn(policy, history, Sampling(max_tokens=12, stop=("never", stop)))
    assert cut.text == whole.text[: whole.text.index(stop) + len(stop)]
    assert cut.finish == "stop"
    assert cut.token_ids == cut.logprobs == ()
    await policy.close()


async def test_the_end_token_ends_the_turn(qwen3: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = LocalPolicy(qwen3)
    history = first_turn(2, qwen3.view.factor)
    whole = await turn(policy, history)
    await policy.close()
    monkeypatch.setattr(qwen3.model.generation_config, "eos_token_id", [whole.token_ids[3]])
    policy = LocalPolicy(qwen3)
    short = await turn(policy, history)
    length = whole.token_ids.index(whole.token_ids[3]) + 1
    assert (short.finish, short.token_ids) == ("stop", whole.token_ids[:length])
    assert short.completion_tokens == length
    assert whole.text.startswith(short.text)
    await policy.close()


async def test_closing_the_stream_frees_the_row(narrow: LocalPolicy, endless: Checkpoint) -> None:
    stream = narrow.act(first_turn(1, endless.view.factor), LONG, Deadline.never())
    await anext(stream)
    assert narrow.stats().running == 1
    await stream.aclose()
    await until(lambda: narrow.stats().running == 0)
    assert (await turn(narrow, first_turn(2, endless.view.factor))).completion_tokens == 12


async def test_cancelling_one_row_leaves_the_others_alone(endless: Checkpoint) -> None:
    policy = LocalPolicy(endless)
    histories = [first_turn(seed, endless.view.factor) for seed in range(3)]
    sampling = Sampling(max_tokens=60, logprobs=True)
    alone = [await turn(policy, history, sampling) for history in histories]
    policy.forget()
    stream = policy.act(first_turn(7, endless.view.factor), LONG, Deadline.never())
    await anext(stream)
    others = [asyncio.create_task(turn(policy, history, sampling)) for history in histories]
    await until(lambda: policy.stats().running == 4)
    await stream.aclose()
    assert [(await task).token_ids for task in others] == [each.token_ids for each in alone]
    await policy.close()


async def test_a_full_queue_refuses(narrow: LocalPolicy, endless: Checkpoint) -> None:
    running = narrow.act(first_turn(1, endless.view.factor), LONG, Deadline.never())
    await anext(running)
    waiting = asyncio.create_task(turn(narrow, first_turn(2, endless.view.factor)))
    await until(lambda: narrow.stats().waiting == 1)
    assert not await narrow.ready()
    with pytest.raises(Overloaded) as caught:
        await turn(narrow, first_turn(3, endless.view.factor))
    assert caught.value.retry_after
    await running.aclose()
    assert (await waiting).completion_tokens == 12
    assert await narrow.ready()


async def test_a_waiting_turn_can_be_cancelled(narrow: LocalPolicy, endless: Checkpoint) -> None:
    running = narrow.act(first_turn(1, endless.view.factor), LONG, Deadline.never())
    await anext(running)
    waiting = asyncio.create_task(turn(narrow, first_turn(2, endless.view.factor)))
    await until(lambda: narrow.stats().waiting == 1)
    waiting.cancel()
    await until(lambda: narrow.stats().waiting == 0)
    await running.aclose()


async def test_the_deadline_ends_a_turn(narrow: LocalPolicy, endless: Checkpoint) -> None:
    history = first_turn(1, endless.view.factor)
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        async for _ in narrow.act(history, LONG, Deadline.after(0.15)):
            pass
    assert time.monotonic() - started < 0.65
    await until(lambda: narrow.stats().running == 0)
    with pytest.raises(DeadlineExceeded):
        await anext(narrow.act(history, LONG, Deadline.after(0)))


async def test_the_event_loop_is_never_blocked(endless: Checkpoint) -> None:
    policy = LocalPolicy(endless)
    tasks = [asyncio.create_task(turn(policy, first_turn(seed, endless.view.factor), LONG)) for seed in range(4)]
    gaps: list[float] = []
    while policy.stats().running < 4 or len(gaps) < 50:
        before = time.monotonic()
        await asyncio.sleep(0.001)
        gaps.append(time.monotonic() - before)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await policy.close()
    assert sorted(gaps)[len(gaps) // 2] < 0.05


async def test_a_conversation_that_is_too_long_says_so(qwen3: Checkpoint) -> None:
    policy = LocalPolicy(qwen3, LocalPolicySettings(max_context=64))
    with pytest.raises(PolicyError, match="fewer turns or smaller views"):
        await turn(policy, first_turn(1, qwen3.view.factor, "bell " * 80))
    await policy.close()


async def test_the_context_bounds_the_answer(endless: Checkpoint) -> None:
    policy = LocalPolicy(endless, LocalPolicySettings(max_context=120))
    got = await turn(policy, first_turn(1, endless.view.factor), Sampling(max_tokens=5000, logprobs=True))
    assert got.finish == "length"
    assert got.prompt_tokens + got.completion_tokens == 120
    await policy.close()


async def test_a_failing_model_is_a_policy_error_and_no_end(
    qwen3: Checkpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    policy = LocalPolicy(qwen3)
    history = first_turn(1, qwen3.view.factor)
    with monkeypatch.context() as patch:
        patch.setattr(qwen3.model.model.language_model, "forward", lambda **_: 1 / 0)
        with pytest.raises(PolicyError, match="server's log") as caught:
            await turn(policy, history)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "ZeroDivisionError" in caplog.text
    assert (await turn(policy, history)).completion_tokens == 12
    await policy.close()


async def test_a_failing_step_fails_every_row(
    endless: Checkpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    policy = LocalPolicy(endless)
    tasks = [asyncio.create_task(turn(policy, first_turn(seed, endless.view.factor), LONG)) for seed in range(2)]
    await until(lambda: policy.stats().running == 2)

    def exhausted(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(endless.model.lm_head, "forward", exhausted)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, PolicyError) and "out of memory" in str(result) for result in results)
    assert caplog.records
    await policy.close()


async def test_closing_ends_turns_and_refuses_new_ones(endless: Checkpoint) -> None:
    policy = LocalPolicy(endless, LocalPolicySettings(max_batch=1))
    tasks = [asyncio.create_task(turn(policy, first_turn(seed, endless.view.factor), LONG)) for seed in range(2)]
    await until(lambda: policy.stats().running == 1)
    await policy.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, ShuttingDown) for result in results)
    assert not await policy.ready()
    with pytest.raises(ShuttingDown):
        await turn(policy, first_turn(1, endless.view.factor))
