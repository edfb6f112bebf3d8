"""Several servers as one policy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.policy.server import GOOD, FakeServer, chunk, serving
from tests.policy.tiny import first_turn, next_turn

from rsagent.deadline import Deadline
from rsagent.engines.router import RoutedPolicy
from rsagent.errors import DeadlineExceeded, Overloaded, PolicyError, RSAgentError
from rsagent.policy.faults import ServerDown, ServerSilent
from rsagent.policy.openai import OpenAIPolicy
from rsagent.policy.protocol import History, PolicyTurn, Sampling, TextDelta, ViewSpec
from rsagent.policy.settings import OpenAIPolicySettings
from rsagent.service import load_policy
from rsagent.settings import PolicySettings

TEXT = "<think>a cup</think>"
GREEDY = Sampling()
DICE = Sampling(temperature=1.0)


@dataclass(eq=False)
class Stub:
    """Says `text` in pieces of four; with `failure`, raises it after `before` pieces. Counts what it was asked."""

    text: str = TEXT
    failure: RSAgentError | None = None
    before: int = 0
    healthy: bool = True
    gate: asyncio.Event | None = None
    image_bytes_sent: int = 3
    asked: list[History] = field(default_factory=list)
    closed: bool = False
    name: str = "stub"
    dialect: str = "nano"
    view: ViewSpec = field(default_factory=lambda: ViewSpec(50176))

    async def act(
        self, history: History, sampling: Sampling, deadline: Deadline
    ) -> AsyncGenerator[TextDelta | PolicyTurn, None]:
        self.asked.append(history)
        if self.gate is not None:
            await self.gate.wait()
        for index in range(0, len(self.text), 4):
            if self.failure is not None and index >= 4 * self.before:
                raise self.failure
            yield TextDelta(self.text[index : index + 4])
        if self.failure is not None:
            raise self.failure
        yield PolicyTurn(self.text)

    async def ready(self) -> bool:
        return self.healthy

    async def close(self) -> None:
        self.closed = True


@asynccontextmanager
async def routed(*stubs: Stub, cooldown: float = 0.02) -> AsyncIterator[RoutedPolicy]:
    policy = RoutedPolicy(stubs, cooldown=cooldown)
    yield policy
    await policy.close()
    assert all(stub.closed for stub in stubs)
    assert policy.loads() == (0,) * len(stubs)


async def turn(policy: RoutedPolicy, history: History, sampling: Sampling = GREEDY) -> str:
    """The turn's text, which its pieces must add up to."""
    async with aclosing(policy.act(history, sampling, Deadline.after(20))) as events:
        *pieces, last = [event async for event in events]
    assert isinstance(last, PolicyTurn)
    assert "".join(piece.text for piece in pieces) == last.text
    return last.text


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


def answered(history: History, seed: int = 1) -> History:
    return next_turn(history, TEXT, seed, 32)


def episode(seed: int) -> History:
    return first_turn(seed, 32, f"request {seed}")


async def test_it_is_one_policy() -> None:
    async with routed(Stub(), Stub()) as policy:
        assert (policy.name, policy.dialect, policy.view) == ("stub", "nano", ViewSpec(50176))
        assert policy.image_bytes_sent == 6
        assert await policy.ready()


async def test_ready_as_long_as_one_is() -> None:
    one, other = Stub(healthy=False), Stub()
    async with routed(one, other) as policy:
        assert await policy.ready()
        other.healthy = False
        assert not await policy.ready()


async def test_an_episode_stays_where_it_began_even_if_another_is_free() -> None:
    stubs = [Stub(), Stub(), Stub()]
    async with routed(*stubs) as policy:
        history = episode(1)
        await turn(policy, history)
        home = next(stub for stub in stubs if stub.asked)
        home.gate = asyncio.Event()
        others = [asyncio.create_task(turn(policy, answered(history))) for _ in range(6)]
        await until(lambda: len(home.asked) == 7)
        home.gate.set()
        await asyncio.gather(*others)


async def test_new_episodes_go_where_the_fewest_tokens_are_under_way() -> None:
    stubs = [Stub(gate=asyncio.Event()), Stub(gate=asyncio.Event())]
    async with routed(*stubs) as policy:
        long = asyncio.create_task(turn(policy, first_turn(1, 32, "word " * 2000)))
        await until(lambda: sum(len(stub.asked) for stub in stubs) == 1)
        busy = next(stub for stub in stubs if stub.asked)
        short = [asyncio.create_task(turn(policy, episode(seed))) for seed in range(2, 6)]
        await until(lambda: sum(len(stub.asked) for stub in stubs) == 5)
        assert len(busy.asked) == 1
        for stub in stubs:
            assert stub.gate is not None
            stub.gate.set()
        await asyncio.gather(long, *short)


async def test_load_is_shared_evenly() -> None:
    gate = asyncio.Event()
    stubs = [Stub(gate=gate) for _ in range(4)]
    async with routed(*stubs) as policy:
        turns = [asyncio.create_task(turn(policy, episode(seed))) for seed in range(16)]
        await until(lambda: sum(len(stub.asked) for stub in stubs) == 16)
        assert [len(stub.asked) for stub in stubs] == [4, 4, 4, 4]
        gate.set()
        await asyncio.gather(*turns)


async def test_the_same_request_goes_where_it_was_read_before_unless_that_is_busy() -> None:
    stubs = [Stub(), Stub()]
    async with routed(*stubs) as policy:
        for _ in range(4):
            await turn(policy, episode(1))
        assert sorted(len(stub.asked) for stub in stubs) == [0, 4]
        home, other = sorted(stubs, key=lambda stub: -len(stub.asked))
        home.gate = other.gate = asyncio.Event()
        turns = [asyncio.create_task(turn(policy, episode(1))) for _ in range(6)]
        await until(lambda: sum(len(stub.asked) for stub in stubs) == 10)
        assert len(other.asked) >= 2
        home.gate.set()
        await asyncio.gather(*turns)


@pytest.mark.parametrize("before", [0, 2])
async def test_what_a_dead_server_left_unsaid_is_asked_of_another(before: int) -> None:
    dead, alive = Stub(failure=ServerDown("gone"), before=before), Stub()
    async with routed(dead, alive) as policy:
        assert await turn(policy, episode(1)) == TEXT
        assert len(dead.asked) == len(alive.asked) == 1


async def test_a_dead_server_is_left_aside_until_it_answers_again() -> None:
    dead, alive = Stub(failure=ServerDown("gone"), healthy=False), Stub()
    async with routed(dead, alive) as policy:
        for seed in range(4):
            await turn(policy, episode(seed))
        assert len(dead.asked) == 1
        dead.failure, dead.healthy = None, True
        alive.gate = asyncio.Event()
        slow = asyncio.create_task(turn(policy, episode(9)))
        await asyncio.sleep(0.1)
        await turn(policy, episode(10))
        assert len(dead.asked) == 2
        alive.gate.set()
        await slow


async def test_an_episode_moves_when_its_server_dies() -> None:
    stubs = [Stub(), Stub()]
    async with routed(*stubs) as policy:
        history = episode(1)
        await turn(policy, history)
        home = next(stub for stub in stubs if stub.asked)
        home.failure, home.healthy = ServerDown("gone"), False
        history = answered(history)
        assert await turn(policy, history) == TEXT
        home.failure, home.healthy = None, True
        await asyncio.sleep(0.1)
        count = len(home.asked)
        assert await turn(policy, answered(history, 2)) == TEXT
        assert len(home.asked) == count


@pytest.mark.parametrize(
    ("failure", "sampling"),
    [(ServerDown("gone"), DICE), (ServerSilent("hung"), GREEDY), (PolicyError("no"), GREEDY)],
)
async def test_some_failures_are_final(failure: RSAgentError, sampling: Sampling) -> None:
    stubs = [Stub(failure=failure, before=1), Stub(failure=failure, before=1)]
    async with routed(*stubs) as policy:
        with pytest.raises(type(failure)) as caught:
            await turn(policy, episode(1), sampling)
        assert caught.value is failure
        assert sum(len(stub.asked) for stub in stubs) == 1


async def test_a_telling_that_differs_is_the_failure_it_came_from() -> None:
    failure = ServerDown("gone")
    stubs = [Stub("one thing said", failure, 2), Stub("something else")]
    async with routed(*stubs) as policy:
        with pytest.raises(ServerDown) as caught:
            await turn(policy, episode(1))
        assert caught.value is failure


async def test_a_full_server_is_not_dead() -> None:
    full, other = Stub(failure=Overloaded("full")), Stub()
    async with routed(full, other) as policy:
        assert await turn(policy, episode(1)) == TEXT
        full.failure = None
        assert await turn(policy, episode(2)) == TEXT
        assert len(full.asked) == 2


async def test_when_all_fail_the_last_failure_is_told() -> None:
    async with routed(Stub(failure=ServerDown("one")), Stub(failure=ServerDown("two"))) as policy:
        with pytest.raises(ServerDown):
            await turn(policy, episode(1))
        with pytest.raises(ServerDown):  # none is left that was not put aside: they are asked all the same
            await turn(policy, episode(1))


async def test_closing_a_turn_frees_its_place() -> None:
    async with routed(Stub(), Stub()) as policy:
        events = policy.act(episode(1), GREEDY, Deadline.never())
        await anext(events)
        assert max(policy.loads()) > 0
        await events.aclose()
        assert policy.loads() == (0, 0)


@given(st.text(min_size=1, max_size=24), st.integers(0, 6), st.integers(0, 6))
async def test_broken_off_anywhere_a_repeatable_turn_is_whole(text: str, first: int, second: int) -> None:
    stubs = [Stub(text, ServerDown("1"), first), Stub(text, ServerDown("2"), second), Stub(text)]
    async with routed(*stubs) as policy:
        assert await turn(policy, episode(1)) == text


async def test_addresses_with_commas_are_several_servers() -> None:
    dead = "http://127.0.0.1:9/v1"
    async with serving(FakeServer()) as fake:
        settings = PolicySettings.model_validate({"openai": {"base_url": f"{dead}, {fake.url}", "server": "vllm"}})
        policy = load_policy(settings)
        assert isinstance(policy, RoutedPolicy)
        assert await turn(policy, episode(1)) == "<think>ab</think>"
        assert await policy.ready()
        await policy.close()


async def test_a_server_that_breaks_off_is_told_apart_from_one_that_refuses() -> None:
    fake = FakeServer(answers=[(chunk("<think>a"),), GOOD, (400, {}), (504, {})])
    async with serving(fake):
        policy = OpenAIPolicy(OpenAIPolicySettings(base_url=fake.url))
        kinds = []
        for _ in range(4):
            try:
                [_ async for _ in policy.act(episode(1), GREEDY, Deadline.after(20))]
                kinds.append("fine")
            except (PolicyError, DeadlineExceeded) as error:
                kinds.append(type(error).__name__)
        assert kinds == ["ServerDown", "fine", "PolicyError", "DeadlineExceeded"]
        await policy.close()
