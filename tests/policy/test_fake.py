"""The scripted policy keeps the protocol's promises."""

from __future__ import annotations

import pytest

from rsagent.deadline import Deadline
from rsagent.errors import DeadlineExceeded, PolicyError
from rsagent.policy.fake import ScriptedPolicy
from rsagent.policy.protocol import History, Message, Policy, PolicyTurn, Sampling, TextDelta

HISTORY = (Message.of("system", "be brief"), Message.of("user", "hello there"))


async def play(policy: Policy, history: History = HISTORY) -> tuple[str, PolicyTurn]:
    *deltas, last = [event async for event in policy.act(history, Sampling(), Deadline.never())]
    assert isinstance(last, PolicyTurn)
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)), last


async def test_replies_follow_the_episode() -> None:
    policy = ScriptedPolicy(["first reply", "second"], piece=3)
    text, turn = await play(policy)
    assert text == turn.text == "first reply"
    assert (turn.prompt_tokens, turn.cached_tokens, turn.completion_tokens) == (4, 0, 2)
    later = (*HISTORY, Message.of("assistant", "first reply"), Message.of("user", "and?"))
    _, turn = await play(policy, later)
    assert (turn.text, turn.prompt_tokens, turn.cached_tokens) == ("second", 7, 6)
    assert (policy.running, policy.started, policy.cancelled) == (0, 2, 0)
    assert policy.histories == [HISTORY, later]


async def test_a_function_may_reply() -> None:
    assert (await play(ScriptedPolicy(lambda history: history[-1].text.upper())))[0] == "HELLO THERE"


async def test_closing_is_counted_as_a_cancellation() -> None:
    policy = ScriptedPolicy(["a long reply"], piece=1)
    stream = policy.act(HISTORY, Sampling(), Deadline.never())
    await anext(stream)
    assert policy.running == 1
    await stream.aclose()
    assert (policy.running, policy.cancelled) == (0, 1)


async def test_failures_come_after_the_text() -> None:
    policy = ScriptedPolicy(["text"], failure=PolicyError("the engine died"))
    stream = policy.act(HISTORY, Sampling(), Deadline.never())
    assert await anext(stream) == TextDelta("text")
    with pytest.raises(PolicyError):
        await anext(stream)
    assert policy.running == 0


async def test_delays_end_with_the_deadline() -> None:
    policy = ScriptedPolicy(["text"], delay=30)
    with pytest.raises(DeadlineExceeded):
        await anext(policy.act(HISTORY, Sampling(), Deadline.after(0.02)))


async def test_it_can_be_unwell() -> None:
    policy = ScriptedPolicy(["text"])
    assert await policy.ready()
    await policy.close()
    assert not await policy.ready()
