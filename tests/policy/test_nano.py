"""The policy in the package: it loads as an ordinary checkpoint and answers in its dialect."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from rsagent import examples
from rsagent.agent import dialects
from rsagent.agent.actions import Malformed
from rsagent.agent.episode import begin
from rsagent.agent.state import EpisodeState, Task
from rsagent.deadline import Deadline
from rsagent.policy.local import LocalPolicy
from rsagent.policy.protocol import PolicyTurn, Sampling
from rsagent.policy.settings import LocalPolicySettings

DIALECT = dialects.get("nano")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nano() -> AsyncIterator[LocalPolicy]:
    policy = await asyncio.to_thread(LocalPolicy.load, LocalPolicySettings())
    yield policy
    await policy.close()


def opened(nano: LocalPolicy, example: examples.Example, sentence: str) -> EpisodeState:
    image = np.asarray(Image.open(example.path).convert("RGB"))
    return begin(Task(image, example.name, sentence, nano.view), DIALECT)


async def turn_of(nano: LocalPolicy, state: EpisodeState) -> PolicyTurn:
    sampling = Sampling(stop=DIALECT.stop)
    async for piece in nano.act(state.history, sampling, Deadline.after(120)):
        if isinstance(piece, PolicyTurn):
            return piece
    raise AssertionError("the stream ended without its turn")


@pytest.mark.asyncio(loop_scope="module")
async def test_it_names_its_dialect_and_view(nano: LocalPolicy) -> None:
    assert nano.dialect == "nano"
    assert nano.view.size(640, 480) == (320, 224)


@pytest.mark.asyncio(loop_scope="module")
async def test_every_shipped_sentence_gets_a_valid_first_call(nano: LocalPolicy) -> None:
    for example in examples.load():
        for sentence in example.sentences:
            state = opened(nano, example, sentence)
            reply = await turn_of(nano, state)
            reading = DIALECT.parse(reply.text, state)
            assert not isinstance(reading.action, Malformed), (sentence, reply.text)
            assert reading.thought
