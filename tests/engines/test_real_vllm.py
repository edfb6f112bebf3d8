"""The packaged policy in a real vLLM, which the service starts as it would for anyone.

What is asked is equality with the policy in this process and what is counted on the wire and in the engine, never what
the weights say.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image
from tests.engines.wire import Counting, EngineCounts
from tests.policy.tiny import picture
from tests.segmenter.serve.running import commands

from rsagent import examples, settings
from rsagent.agent import dialects
from rsagent.agent.actions import Malformed
from rsagent.agent.dialects.pattern import turn_pattern
from rsagent.agent.episode import begin
from rsagent.agent.runner import Runner, play_to_end
from rsagent.agent.state import EpisodeResult, EpisodeState, Task
from rsagent.deadline import Deadline
from rsagent.engines.router import RoutedPolicy
from rsagent.engines.vllm import running
from rsagent.errors import ContextOverflow, NotConfigured
from rsagent.policy.files import locate
from rsagent.policy.local import LocalPolicy
from rsagent.policy.openai import OpenAIPolicy
from rsagent.policy.protocol import History, Message, Policy, PolicyTurn, Sampling
from rsagent.policy.settings import OpenAIPolicySettings
from rsagent.segmenter.pool import SegmenterPool
from rsagent.settings import SegmenterSettings
from rsagent.training.policy.vocabulary import load_tokenizer

pytestmark = [pytest.mark.engines, pytest.mark.asyncio(loop_scope="module")]

NANO = dialects.get("nano")
SAMPLING = Sampling(stop=NANO.stop, logprobs=True)
TURNS = 6
BLOCK = 32
SMALL_IMAGE_CACHE = "0.015"
"""GiB: 18 of our smallest pictures as float32, 73 as bytes, whichever the engine keeps; `OTHERS` push one out."""
OTHERS = 90


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def found(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenAIPolicySettings]:
    small = {"arguments": ("--mm-processor-cache-gb", SMALL_IMAGE_CACHE), "threads": 1}
    chosen = settings.load().policy.vllm.model_copy(update={"logs": tmp_path_factory.mktemp("logs"), **small})
    try:
        async with running(chosen) as found:
            yield found
    except NotConfigured as error:
        pytest.skip(str(error))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local() -> AsyncIterator[LocalPolicy]:
    policy = await asyncio.to_thread(LocalPolicy.load)
    yield policy
    await policy.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def segmenter() -> AsyncIterator[SegmenterPool]:
    pool = await asyncio.to_thread(SegmenterPool.load, SegmenterSettings())
    yield pool
    await pool.close()


@pytest_asyncio.fixture(loop_scope="module")
async def wire() -> Counting:
    return Counting()


@pytest_asyncio.fixture(loop_scope="module")
async def served(found: OpenAIPolicySettings, wire: Counting) -> AsyncIterator[OpenAIPolicy]:
    policy = OpenAIPolicy(found, wire)
    yield policy
    await policy.close()


async def turn_of(policy: Policy, history: History, sampling: Sampling = SAMPLING) -> PolicyTurn:
    async with aclosing(policy.act(history, sampling, Deadline.after(300))) as events:
        *pieces, last = [event async for event in events]
    assert isinstance(last, PolicyTurn)
    assert "".join(piece.text for piece in pieces) == last.text
    return last


async def played(policy: Policy, segmenter: SegmenterPool, example: examples.Example, sentence: str) -> EpisodeResult:
    image = np.asarray(Image.open(example.path).convert("RGB"))
    episode = Runner(policy, segmenter).play(image, sentence, deadline=Deadline.after(600), sampling=SAMPLING)
    return (await play_to_end(episode)).result


def opened(policy: Policy, number: int, *, mirrored: bool = False) -> EpisodeState:
    """The beginning of an episode; `mirrored`, with a picture that no other test has sent."""
    example = examples.load()[number]
    image = np.asarray(Image.open(example.path).convert("RGB"))
    image = np.ascontiguousarray(image[:, ::-1]) if mirrored else image
    return begin(Task(image, example.name, example.sentences[0], policy.view), NANO)


def followed(history: History, reply: str, seed: int) -> History:
    """The history after a reply and an observation with a picture of its own."""
    seen = picture(seed, 192, 192, 32)
    return *history, Message.of("assistant", reply), Message.of("user", seen, f"mask 1 box [1, 2, 3, 4] left {seed}")


def read_back(tokenizer: Any, turn: PolicyTurn) -> int:
    """How many tokens of a reply the next prompt repeats: all that were sampled, but where what is said of noise would
    be spelled in others, those before."""
    spelled = tokenizer.encode(turn.text, add_special_tokens=False)
    pairs = zip(turn.token_ids, spelled, strict=False)
    return next((place for place, (said, read) in enumerate(pairs) if said != read), turn.completion_tokens)


async def until(condition: Callable[[EngineCounts], bool], base_url: str) -> EngineCounts:
    end = time.monotonic() + 60
    while not condition(counts := await EngineCounts.look(base_url)):
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
    return counts


async def test_the_engine_computes_in_its_own_process(found: OpenAIPolicySettings) -> None:
    """A worker beside it would ask shared memory for news without a pause."""
    titles = commands().values()
    assert any(title.startswith("VLLM::EngineCore") for title in titles)
    assert not any(title.startswith("VLLM::Worker") for title in titles)


async def test_greedy_episodes_equal_the_in_process_ones(
    served: OpenAIPolicy, local: LocalPolicy, segmenter: SegmenterPool
) -> None:
    """Whole requests, on every shipped picture and sentence: the same tokens, actions and masks."""
    for example in examples.load():
        for sentence in example.sentences:
            ours = await played(local, segmenter, example, sentence)
            theirs = await played(served, segmenter, example, sentence)
            replies = [[turn.reply for turn in result.state.turns] for result in (ours, theirs)]
            assert [reply.text for reply in replies[0]] == [reply.text for reply in replies[1]], sentence
            assert [reply.token_ids for reply in replies[0]] == [reply.token_ids for reply in replies[1]]
            assert [reply.prompt_tokens for reply in replies[0]] == [reply.prompt_tokens for reply in replies[1]]
            for ours_reply, their_reply in zip(*replies, strict=True):
                np.testing.assert_allclose(their_reply.logprobs, ours_reply.logprobs, atol=1e-3)
            assert ours.stop == theirs.stop
            np.testing.assert_array_equal(ours.union, theirs.union)


async def test_every_earlier_turn_is_a_prefix_hit_and_each_picture_is_sent_once(
    served: OpenAIPolicy, wire: Counting, record_property: Callable[[str, object], None]
) -> None:
    """Counted on the wire and by the engine, over conversations of six turns with a new picture each."""
    before = await EngineCounts.look(served_url(served))
    tokenizer = load_tokenizer(locate("nano"))
    prefilled = last_prompts = 0
    for number in range(4):
        history, held = opened(served, number, mirrored=True).history, 0
        for index in range(TURNS):
            turn = await turn_of(served, history)
            if index:
                # All whole blocks of what the engine has read and written; the last token sampled it never read.
                assert turn.cached_tokens >= (held - 1) // BLOCK * BLOCK
            held = turn.prompt_tokens + read_back(tokenizer, turn)
            prefilled += turn.prompt_tokens - turn.cached_tokens
            history = followed(history, turn.text, 100 * number + index)
        last_prompts += turn.prompt_tokens
    name = "request_prefill_kv_computed_tokens_sum"
    engine = (await until(lambda counts: counts.since(before)[name] >= prefilled, served_url(served))).since(before)
    assert set(wire.uploads.values()) == {1}
    assert len(wire.uploads) == 4 * TURNS
    assert max(wire.names.values()) == TURNS
    assert wire.image_bytes == served.image_bytes_sent
    assert engine[name] == prefilled
    assert engine["mm_cache_queries_total"] - engine["mm_cache_hits_total"] == 4 * TURNS
    ratio = prefilled / last_prompts
    record_property("prefilled over prompt tokens", ratio)
    assert ratio <= 1.05


async def test_a_picture_that_the_engine_dropped_is_sent_again(served: OpenAIPolicy, wire: Counting) -> None:
    history = opened(served, 4).history
    first = await turn_of(served, history)
    others = [(Message.of("user", picture(1000 + seed, 192, 192, 32), "x"),) for seed in range(OTHERS)]
    for start in range(0, OTHERS, 10):
        few = others[start : start + 10]
        await asyncio.gather(*(turn_of(served, history, Sampling(max_tokens=1)) for history in few))
    history = followed(history, first.text, 77)
    again = await turn_of(served, history)
    assert wire.uploads[history[1].parts[0].uuid] == 2  # type: ignore[union-attr]
    assert again.text
    assert (await turn_of(served, history)).text == again.text
    assert max(wire.uploads.values()) == 2


async def test_a_closed_stream_ends_the_generation(found: OpenAIPolicySettings) -> None:
    policy = OpenAIPolicy(found, pattern="[a-z]{2000}")
    before = await EngineCounts.look(found.base_url)
    events = policy.act((Message.of("user", "cup"),), Sampling(max_tokens=1500), Deadline.after(300))
    for _ in range(3):
        await anext(events)
    assert (await EngineCounts.look(found.base_url))["num_requests_running"] == 1
    await events.aclose()
    ended = await until(lambda counts: counts["num_requests_running"] == 0, found.base_url)
    assert ended.since(before)["generation_tokens_total"] < 1000
    await policy.close()


async def test_the_turn_ends_with_its_call(served: OpenAIPolicy) -> None:
    turn = await turn_of(served, opened(served, 2).history)
    assert turn.finish == "stop"
    assert turn.text.endswith("</tool_call>")
    assert turn.text.count("</tool_call>") == 1


async def test_guided_turns_are_calls_however_wild_the_sampling(found: OpenAIPolicySettings) -> None:
    pattern = turn_pattern(NANO)
    policy = OpenAIPolicy(found, pattern=pattern)
    state = opened(policy, 1)
    wild = [Sampling(temperature=2.0, seed=seed, max_tokens=600, stop=NANO.stop) for seed in range(4)]
    for turn in await asyncio.gather(*(turn_of(policy, state.history, sampling) for sampling in wild)):
        assert turn.finish == "length" or re.fullmatch(pattern, turn.text), turn.text
        action = NANO.parse(turn.text, state).action
        assert turn.finish == "length" or not isinstance(action, Malformed) or action.kind != "bad_json"
    await policy.close()


async def test_guiding_changes_no_well_formed_turn(found: OpenAIPolicySettings, local: LocalPolicy) -> None:
    policy = OpenAIPolicy(found, pattern=turn_pattern(NANO))
    history = opened(policy, 0).history
    free = await turn_of(local, history)
    if re.fullmatch(turn_pattern(NANO), free.text):
        assert (await turn_of(policy, history)).text == free.text
    await policy.close()


async def test_turns_at_once_are_those_alone(served: OpenAIPolicy) -> None:
    histories = [opened(served, number).history for number in range(8)]
    alone = [(await turn_of(served, history)).text for history in histories]
    together = await asyncio.gather(*(turn_of(served, history) for history in histories))
    assert [turn.text for turn in together] == alone


async def test_a_dead_address_beside_it_costs_nothing_but_a_look(found: OpenAIPolicySettings) -> None:
    dead = found.model_copy(update={"base_url": "http://127.0.0.1:9/v1"})
    routed = RoutedPolicy([OpenAIPolicy(dead), OpenAIPolicy(found)])
    assert (await turn_of(routed, opened(routed, 3).history)).text
    assert await routed.ready()
    await routed.close()


async def test_what_outgrows_the_context_is_told_as_that(served: OpenAIPolicy) -> None:
    with pytest.raises(ContextOverflow):
        await turn_of(served, (Message.of("user", "cup " * 9000),))


async def test_nobody_else_may_ask(found: OpenAIPolicySettings) -> None:
    stranger = OpenAIPolicy(found.model_copy(update={"api_key": None}))
    assert not await stranger.ready()
    await stranger.close()


def served_url(served: OpenAIPolicy) -> str:
    return served._settings.base_url
