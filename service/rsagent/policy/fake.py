"""A policy that says what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress

from rsagent.deadline import Deadline
from rsagent.errors import RSAgentError
from rsagent.policy.protocol import History, PolicyTurn, Sampling, TextDelta, ViewSpec

Script = Sequence[str] | Callable[[History], str]


class ScriptedPolicy:
    """Replies from a list (a turn's place in its episode picks the reply, the last one repeats) or from a function.

    `delay` seconds pass before the text and `piece_delay` before each piece of `piece` characters; `failure` is raised
    after that text instead of the final turn. `running`, `started` and `cancelled` count generations; `histories` and
    `samplings` keep what each was asked with. Each word counts as a token; words of earlier messages count as cached.
    """

    def __init__(
        self,
        script: Script,
        *,
        dialect: str = "nano",
        view: ViewSpec | None = None,
        piece: int = 8,
        delay: float = 0.0,
        piece_delay: float = 0.0,
        failure: RSAgentError | None = None,
    ) -> None:
        self.name = "scripted"
        self.dialect = dialect
        self.view = view or ViewSpec(max_pixels=224 * 224)
        self.failure = failure
        self.healthy = True
        self._script = script
        self._piece, self._delay, self._piece_delay = piece, delay, piece_delay
        self.running = self.started = self.cancelled = 0
        self.histories: list[History] = []
        self.samplings: list[Sampling] = []

    async def act(
        self, history: History, sampling: Sampling, deadline: Deadline
    ) -> AsyncGenerator[TextDelta | PolicyTurn, None]:
        """See `Policy.act`."""
        self.histories.append(history)
        self.samplings.append(sampling)
        self.running += 1
        self.started += 1
        try:
            async for event in self._speak(history, deadline):
                yield event
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def ready(self) -> bool:
        return self.healthy

    async def close(self) -> None:
        self.healthy = False

    async def _speak(self, history: History, deadline: Deadline) -> AsyncGenerator[TextDelta | PolicyTurn, None]:
        text = self._reply(history)
        await _pause(self._delay, deadline)
        for start in range(0, len(text), self._piece):
            await _pause(self._piece_delay, deadline)
            yield TextDelta(text[start : start + self._piece])
        if self.failure is not None:
            raise self.failure
        yield self._turn(history, text)

    def _reply(self, history: History) -> str:
        if callable(self._script):
            return self._script(history)
        done = sum(message.role == "assistant" for message in history)
        return self._script[min(done, len(self._script) - 1)]

    def _turn(self, history: History, text: str) -> PolicyTurn:
        words = [len(message.text.split()) for message in history]
        last = max((place for place, message in enumerate(history) if message.role == "assistant"), default=-1)
        return PolicyTurn(
            text=text,
            prompt_tokens=sum(words),
            cached_tokens=sum(words[: last + 1]),
            completion_tokens=len(text.split()),
        )


async def _pause(seconds: float, deadline: Deadline) -> None:
    deadline.check()
    if seconds > 0:
        with suppress(TimeoutError):
            async with deadline.timeout():
                await asyncio.sleep(seconds)
        deadline.check()
