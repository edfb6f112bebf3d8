"""Every contender does the same work, really done, and the accounts say what each did beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from loadtests.bench import forcing, replay
from loadtests.bench.account import Account
from loadtests.bench.forcing import Forced, ForcedSampler, Steered, Uploads
from loadtests.bench.loop import Clicker, Loop, Transformers
from loadtests.bench.recording import Recording, record
from tests.loadtests.bench.staging import VIEW, stage
from tests.policy.tiny import save_tiny
from tests.segmenter.tiny import tiny_model
from torch import tensor

from rsagent.deadline import Deadline
from rsagent.policy import batch, openai
from rsagent.policy.checkpoint import Checkpoint, load
from rsagent.policy.fake import ScriptedPolicy
from rsagent.policy.local import LocalPolicy
from rsagent.policy.protocol import ChatMessage, History, Message, PolicyTurn, Sampling
from rsagent.policy.settings import LocalPolicySettings
from rsagent.segmenter.core import SamCore
from rsagent.segmenter.pool import SegmenterPool

TURNS = 3


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = save_tiny("qwen3_vl", tmp_path_factory.mktemp("checkpoint"))
    return load(LocalPolicySettings(checkpoint=str(folder)))


@pytest.fixture(scope="module")
def recordings(checkpoint: Checkpoint) -> list[Recording]:
    staged = stage(checkpoint.tokenizer.backend_tokenizer, mask_side=32)  # of the tiny SAM
    return [record(staged, number, TURNS) for number in range(2)]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Uploads:
    """Both seams set, and taken back at the end; a count of its own."""
    for module, name in ((batch, "Sampler"), (openai, "request_body")):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(forcing, "uploads", Uploads())
    forcing.install()
    return forcing.uploads


def spoken(recordings: list[Recording]) -> int:
    return sum(len(turn.ids) for recording in recordings for turn in recording.turns)


async def test_the_limit_computes_each_token_once(
    checkpoint: Checkpoint, recordings: list[Recording], installed: Uploads
) -> None:
    policy = LocalPolicy(checkpoint, LocalPolicySettings(max_batch=2))
    segmenter = SegmenterPool(SamCore(tiny_model()), "tiny")
    try:
        account = await replay.play(recordings, policy, segmenter, 2, ("</tool_call>",))
        assert policy.stats().image_encodes == account.images
    finally:
        await policy.close()
        await segmenter.close()
    assert (account.episodes, account.turns, account.decodes) == (2, 2 * TURNS, 2 * TURNS)
    assert account.encodes == 2
    assert account.completion_tokens == spoken(recordings)
    assert account.prefilled <= 1.0
    assert account.embedding_hits == 1.0


@pytest.mark.parametrize("clients", [1, 2])
def test_the_loop_does_the_same_and_all_of_it_again(
    checkpoint: Checkpoint, recordings: list[Recording], clients: int
) -> None:
    model = tiny_model()
    loop = Loop(lambda: Transformers(checkpoint), lambda: Clicker(model), "nano", VIEW)
    account = loop.play(recordings, clients)
    assert (account.episodes, account.turns, account.decodes) == (2, 2 * TURNS, 2 * TURNS)
    assert account.encodes == account.turns
    assert account.completion_tokens == spoken(recordings)
    assert account.images_sent == 2 * TURNS * (TURNS + 1) // 2
    assert account.cached_tokens == 0
    assert account.prefilled > 1.5
    assert account.embedding_hits == 0.0


def test_one_at_a_time_computes_on_all_cores_after_a_crowd_too(
    checkpoint: Checkpoint, recordings: list[Recording]
) -> None:
    class Watched(Transformers):
        def say(self, history: History, ids: Sequence[int]) -> PolicyTurn:
            threads.append(torch.get_num_threads())
            return super().say(history, ids)

    model, before = tiny_model(), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        loop = Loop(lambda: Watched(checkpoint), lambda: Clicker(model), "nano", VIEW)
        counts = []
        for clients in (2, 1):
            threads: list[int] = []
            with ThreadPoolExecutor(1) as fresh:  # as a worker plays: on a thread of asyncio's
                fresh.submit(loop.play, recordings, clients).result()
            counts.append(set(threads))
        assert counts == [{1}, {3}]
    finally:
        torch.set_num_threads(before)


def test_a_forced_sampler_says_what_it_is_told() -> None:
    sampler = ForcedSampler(Forced.of(Sampling(seed=1), (4, 2)))
    assert [sampler.choose(tensor([0.0, 9.0])), sampler.choose(tensor([0.0, 9.0]))] == [4, 2]


def test_forced_sampling_keeps_the_rest() -> None:
    forced = Forced.of(Sampling(seed=3, stop=("x",), max_tokens=256), (1, 2, 3))
    assert (forced.seed, forced.stop, forced.max_tokens, forced.ids) == (3, ("x",), 3, (1, 2, 3))


async def test_a_steered_policy_forces_the_turn_of_its_episode() -> None:
    inner = ScriptedPolicy(["one", "two"])
    steered = Steered(inner, lambda number, place: (number, place))
    history = (Message.of("user", "hi"), Message.of("assistant", "one"), Message.of("user", "go on"))
    events = [event async for event in steered.act(history, Sampling(seed=7), Deadline.never())]
    assert isinstance(events[-1], PolicyTurn)
    [sampling] = inner.samplings
    assert isinstance(sampling, Forced)
    assert sampling.ids == (7, 1)


def test_a_request_to_a_server_names_the_tokens_and_uploads_are_counted(installed: Uploads) -> None:
    sent = {"type": "image_url", "image_url": {"url": "data:"}, "uuid": "a"}
    named = {"type": "image_url", "image_url": None, "uuid": "b"}
    write = vars(openai)["request_body"]  # as its own module finds it
    messages: list[ChatMessage] = [
        {"role": "system", "content": "Segment."},
        {"role": "user", "content": [sent, named]},
    ]
    body = write("m", messages, Forced.of(Sampling(), (5, 6)), vllm=True)
    assert body["vllm_xargs"] == {forcing.ARGUMENT: [5, 6]}
    assert "vllm_xargs" not in write("m", messages, Sampling(), vllm=True)
    assert installed.sent == 2


async def test_each_engine_alone_does_its_part_of_the_limit(
    checkpoint: Checkpoint, recordings: list[Recording], installed: Uploads
) -> None:
    segmenter = SegmenterPool(SamCore(tiny_model()), "tiny")
    first, second = [await replay.prompts(recordings, segmenter, 2) for _ in range(2)]
    await segmenter.close()
    assert (first.encodes, first.decodes) == (2, 2 * TURNS)
    assert (second.encodes, second.decodes) == (0, 2 * TURNS)
    policy = LocalPolicy(checkpoint, LocalPolicySettings(max_batch=2))
    try:
        whole = await replay.turns(recordings, policy, 2, (), most=1 << 20)
        policy.forget()
        short = await replay.turns(recordings, policy, 2, (), most=1)
    finally:
        await policy.close()
    assert whole.completion_tokens == spoken(recordings)
    assert short.completion_tokens == short.turns == whole.turns == 2 * TURNS
    assert short.prompt_tokens == whole.prompt_tokens
    assert short.cached_tokens < whole.cached_tokens, "what was not said is read with the next prompt"


def test_accounts_add_up() -> None:
    one = Account(episodes=1, turns=4, encodes=1, decodes=4)
    both = Account.total([one, one, Account(episodes=1, turns=1, encodes=1, decodes=1)])
    assert (both.episodes, both.turns, both.encodes, both.decodes) == (3, 9, 3, 9)
    assert both.embedding_hits == 1.0
