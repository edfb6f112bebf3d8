"""Several policy servers as one policy.

An episode stays with the server that read its beginning: the prefix of its history is in that server's cache, and so
are its pictures. A new one goes where the fewest tokens are under way, counting those that its own prompt would add
there. A server that fails is left aside until it answers again, and what it left unsaid is asked of another one.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress

from rsagent.deadline import Deadline
from rsagent.errors import Overloaded, PolicyError
from rsagent.policy.faults import ServerDown, ServerSilent
from rsagent.policy.protocol import History, ImagePart, Message, Policy, PolicyTurn, Sampling, TextDelta, ViewSpec

log = logging.getLogger(__name__)

REMEMBERED_PREFIXES = 65_536
CHARACTERS_A_TOKEN = 4


class _Server:
    """One of them, and what is known of it. `load` is the tokens under way there, by our own reckoning."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.load = 0
        self.aside: asyncio.Task[None] | None = None

    @contextmanager
    def carrying(self, tokens: int) -> Iterator[None]:
        self.load += tokens
        try:
            yield
        finally:
            self.load -= tokens


class RoutedPolicy:
    """Plays each turn on one of `policies`, which serve the same checkpoint.

    A turn that a server breaks off is played again on another, as far as nothing was heard of it yet; or if it is
    repeatable (greedy, or with a seed), from where it broke off, unless the other server says something else.
    """

    def __init__(self, policies: Sequence[Policy], *, cooldown: float = 2.0) -> None:
        self._servers = [_Server(policy) for policy in policies]
        self._cooldown = cooldown
        self._homes = _Homes()

    @property
    def name(self) -> str:
        return self._first.name

    @property
    def dialect(self) -> str:
        return self._first.dialect

    @property
    def view(self) -> ViewSpec:
        return self._first.view

    @property
    def image_bytes_sent(self) -> int:
        """Bytes of pictures sent to all of them."""
        return sum(int(getattr(server.policy, "image_bytes_sent", 0)) for server in self._servers)

    async def act(
        self, history: History, sampling: Sampling, deadline: Deadline
    ) -> AsyncGenerator[TextDelta | PolicyTurn, None]:
        """See `Policy.act`."""
        failed: set[_Server] = set()
        told = _Told(repeatable=sampling.temperature <= 0 or sampling.seed is not None)
        while True:
            server, cost = self._choose(history, sampling, failed)
            try:
                with server.carrying(cost):
                    async with aclosing(server.policy.act(history, sampling, deadline)) as turn:
                        async for event in turn:
                            if (news := told.news(event)) is not None:
                                yield news
                self._homes.remember(history, server)
                return
            except (ServerDown, ServerSilent, Overloaded) as error:
                if not isinstance(error, Overloaded):
                    self._put_aside(server)
                failed.add(server)
                if isinstance(error, ServerSilent) or told.final or len(failed) == len(self._servers):
                    raise
                told.again(error)

    async def ready(self) -> bool:
        """Whether any of them is."""
        return any(await asyncio.gather(*(server.policy.ready() for server in self._servers)))

    async def close(self) -> None:
        for server in self._servers:
            if server.aside is not None:
                server.aside.cancel()
                with suppress(asyncio.CancelledError):
                    await server.aside
            await server.policy.close()

    def loads(self) -> tuple[int, ...]:
        """Tokens under way at each server."""
        return tuple(server.load for server in self._servers)

    @property
    def _first(self) -> Policy:
        return self._servers[0].policy

    def _choose(self, history: History, sampling: Sampling, failed: set[_Server]) -> tuple[_Server, int]:
        """The server to ask, and the tokens that this turn adds to its load."""
        open_to_us = [server for server in self._servers if server not in failed]
        servers = [server for server in open_to_us if server.aside is None] or open_to_us
        length, holders = self._homes.find(history)
        homes = [server for server in servers if server in holders]
        if homes and any(message.role == "assistant" for message in history):
            servers = homes
        new, whole = (_tokens(part, self.view.factor) + sampling.max_tokens for part in (history[length:], history))

        def cost(server: _Server) -> int:
            return new if server in holders else whole

        chosen = min(servers, key=lambda server: server.load + cost(server))
        return chosen, cost(chosen)

    def _put_aside(self, server: _Server) -> None:
        if server.aside is None:
            log.warning("a policy server is left aside until it answers again")
            server.aside = asyncio.create_task(self._wait_for(server))

    async def _wait_for(self, server: _Server) -> None:
        while True:
            await asyncio.sleep(self._cooldown)
            if await server.policy.ready():
                log.warning("a policy server answers again")
                server.aside = None
                return


class _Told:
    """What was passed on of a turn, so that a second telling goes on where the first one broke off."""

    def __init__(self, repeatable: bool) -> None:
        self._repeatable = repeatable
        self._text = ""
        self._again = ""
        self._failure: PolicyError | Overloaded | None = None

    @property
    def final(self) -> bool:
        """Whether it is too late to ask anyone else."""
        return bool(self._text) and not self._repeatable

    def again(self, failure: Exception) -> None:
        """The turn is told from its beginning once more."""
        assert isinstance(failure, PolicyError | Overloaded)
        self._failure, self._again = failure, ""

    def news(self, event: TextDelta | PolicyTurn) -> TextDelta | PolicyTurn | None:
        """What of an event was not told yet. Raises the failure that led here where both tellings differ."""
        if isinstance(event, PolicyTurn):
            self._check(event.text.startswith(self._text))
            return event
        self._again += event.text
        self._check(self._again.startswith(self._text) or self._text.startswith(self._again))
        fresh = self._again[len(self._text) :]
        self._text += fresh
        return TextDelta(fresh) if fresh else None

    def _check(self, agrees: bool) -> None:
        if not agrees:
            assert self._failure is not None, "a first telling cannot differ from itself"
            raise self._failure


class _Homes:
    """Which servers have read which beginnings of histories."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, frozenset[_Server]] = OrderedDict()

    def find(self, history: History) -> tuple[int, frozenset[_Server]]:
        """How many messages the longest known beginning has, and who has read it."""
        keys = list(_keys(history))
        for length in range(len(keys), 0, -1):
            if (servers := self._known.get(keys[length - 1])) is not None:
                return length, servers
        return 0, frozenset()

    def remember(self, history: History, server: _Server) -> None:
        *_, key = _keys(history)
        self._known[key] = self._known.get(key, frozenset()) | {server}
        self._known.move_to_end(key)
        while len(self._known) > REMEMBERED_PREFIXES:
            self._known.popitem(last=False)


def _keys(history: History) -> Iterator[bytes]:
    """A name for each beginning of a history, shortest first."""
    digest = hashlib.blake2b(digest_size=16)
    for message in history:
        digest.update(f"\0{message.role}".encode())
        for part in message.parts:
            digest.update(b"\1" + (part.uuid if isinstance(part, ImagePart) else part.text).encode())
        yield digest.digest()


def _tokens(messages: Sequence[Message], factor: int) -> int:
    """About how many tokens messages have; `factor` is the side of the square of pixels that is one."""
    count: Callable[[Message], int] = lambda message: sum(  # noqa: E731
        part.pixels.shape[0] * part.pixels.shape[1] // factor**2
        if isinstance(part, ImagePart)
        else len(part.text) // CHARACTERS_A_TOKEN
        for part in message.parts
    )
    return sum(map(count, messages))
