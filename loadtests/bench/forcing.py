"""A policy that computes all it would compute, and says what was recorded.

The engines run their real passes over the real prompt, take a token for each step out of real logits, and then go on
with the recorded one. So turns have the recorded length, whatever the weights would say, and the next turn finds in
the caches exactly what it would have found.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from rsagent.deadline import Deadline
from rsagent.policy import batch, openai
from rsagent.policy.protocol import ChatMessage, History, Policy, PolicyTurn, Sampling, TextDelta, ViewSpec
from rsagent.policy.sampling import Sampler

ARGUMENT = "rsagent_forced"
"""What `forcing_vllm` finds the token ids under in a request's `vllm_xargs`."""


@dataclass(frozen=True, slots=True)
class Forced(Sampling):
    """Sampling whose outcome is known: the tokens `ids`, in this order."""

    ids: tuple[int, ...] = ()

    @classmethod
    def of(cls, sampling: Sampling, ids: tuple[int, ...]) -> Forced:
        """`sampling`, forced to `ids` and no longer than them."""
        values = {each.name: getattr(sampling, each.name) for each in fields(Sampling)}
        return cls(**{**values, "max_tokens": len(ids)}, ids=ids)


class ForcedSampler(Sampler):
    """Chooses as it would, and returns the next recorded token."""

    def __init__(self, sampling: Forced) -> None:
        super().__init__(sampling)
        self._left = iter(sampling.ids)

    def choose(self, logits: Tensor) -> int:
        """See `Sampler.choose`: the choice is made, for its cost."""
        super().choose(logits)
        return next(self._left)


class Uploads:
    """Counts pictures in requests to a policy server: those sent with their content."""

    def __init__(self) -> None:
        self.sent = 0

    def count(self, messages: Sequence[ChatMessage]) -> None:
        """Take in a request's messages."""
        parts = (part for message in messages if isinstance(message["content"], list) for part in message["content"])
        self.sent += sum(part.get("image_url") is not None for part in parts)


uploads = Uploads()
"""Of this process."""


def install() -> None:
    """Have both engines' clients in this process understand `Forced`, and uploads counted.

    The seams are two names that those modules look up when called; nothing of this is in the service itself.
    """
    vars(batch)["Sampler"] = _sampler
    vars(openai)["request_body"] = _writer(vars(openai)["request_body"])


def _sampler(sampling: Sampling) -> Sampler:
    return ForcedSampler(sampling) if isinstance(sampling, Forced) else Sampler(sampling)


def _writer(write: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def written(
        model: str, messages: Sequence[ChatMessage], sampling: Sampling, *, vllm: bool, pattern: str | None = None
    ) -> dict[str, Any]:
        uploads.count(messages)
        body = write(model, messages, sampling, vllm=vllm, pattern=pattern)
        return body | {"vllm_xargs": {ARGUMENT: list(sampling.ids)}} if isinstance(sampling, Forced) else body

    return written


Script = Callable[[int, int], tuple[int, ...]]
"""An episode's number and a turn's place in it (from 0) → the ids to be said."""


class Steered:
    """A policy whose turns say what the script says. An episode is known by its sampling's seed, which is its number;
    `inner` is the policy that does the work, and `install` must have been called."""

    def __init__(self, inner: Policy, script: Script) -> None:
        self.inner = inner
        self._script = script

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def dialect(self) -> str:
        return self.inner.dialect

    @property
    def view(self) -> ViewSpec:
        return self.inner.view

    @property
    def image_bytes_sent(self) -> int:
        return int(getattr(self.inner, "image_bytes_sent", 0))

    async def act(
        self, history: History, sampling: Sampling, deadline: Deadline
    ) -> AsyncGenerator[TextDelta | PolicyTurn, None]:
        """See `Policy.act`."""
        assert sampling.seed is not None, "a request of the benchmark names its episode by the seed"
        place = sum(message.role == "assistant" for message in history)
        forced = Forced.of(sampling, self._script(sampling.seed, place))
        async with aclosing(self.inner.act(history, forced, deadline)) as turn:
            async for event in turn:
                yield event

    async def ready(self) -> bool:
        return await self.inner.ready()

    async def close(self) -> None:
        await self.inner.close()
