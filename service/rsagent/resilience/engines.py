"""The two engines as the service uses them: behind a breaker each, the segmenter's calls made once more if they fail.

Only the segmenter is asked again: a prompt has no effect but its answer, while a second generation would tell a
client two different thoughts.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from rsagent.deadline import Deadline
from rsagent.errors import SegmenterError
from rsagent.policy.protocol import History, Policy, PolicyTurn, Sampling, TextDelta, ViewSpec
from rsagent.resilience.breaker import Breaker, BreakerState
from rsagent.resilience.settings import BreakerSettings, RetrySettings
from rsagent.segmenter.protocol import Image, ImageId, Prompt, Segmenter, SegmentResult

log = logging.getLogger(__name__)


class GuardedPolicy:
    """A policy behind its breaker. `inner` is the policy itself."""

    def __init__(self, inner: Policy, settings: BreakerSettings) -> None:
        self.inner = inner
        self.breaker = Breaker("policy engine", inner.ready, settings)

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def dialect(self) -> str:
        return self.inner.dialect

    @property
    def view(self) -> ViewSpec:
        return self.inner.view

    async def act(
        self, history: History, sampling: Sampling, deadline: Deadline
    ) -> AsyncGenerator[TextDelta | PolicyTurn, None]:
        """See `Policy.act`. Raises Unavailable while the breaker is open."""
        with self.breaker.guard(deadline):
            async with aclosing(self.inner.act(history, sampling, deadline)) as turn:
                async for piece in turn:
                    if isinstance(piece, PolicyTurn):
                        self.breaker.succeeded()
                    yield piece

    async def ready(self) -> bool:
        return self.breaker.state is not BreakerState.OPEN and await self.inner.ready()

    async def close(self) -> None:
        await self.breaker.close()
        await self.inner.close()


class GuardedSegmenter:
    """A segmenter behind its breaker, whose failed calls are made once more. `inner` is the segmenter itself;
    `retries` counts second calls."""

    def __init__(self, inner: Segmenter, breaker: BreakerSettings, retry: RetrySettings) -> None:
        self.inner = inner
        self.breaker = Breaker("segmenter", inner.ready, breaker)
        self.retries = 0
        self._retry = retry
        self._budget = RetryBudget(retry.ratio, retry.reserve)

    @property
    def variant(self) -> str:
        return self.inner.variant

    async def segment(
        self,
        image_id: ImageId,
        image: Image | Callable[[], Image],
        prompt: Prompt,
        deadline: Deadline | None = None,
    ) -> SegmentResult:
        """See `Segmenter.segment`. Raises Unavailable while the breaker is open."""
        until = deadline or Deadline.never()
        with self.breaker.guard(until):
            self._budget.earn()
            try:
                answer = await self.inner.segment(image_id, image, prompt, deadline)
            except SegmenterError as error:
                if not await self._may_retry(error, until):
                    raise
                self.retries += 1
                answer = await self.inner.segment(image_id, image, prompt, deadline)
            self.breaker.succeeded()
            return answer

    async def ready(self) -> bool:
        return self.breaker.state is not BreakerState.OPEN and await self.inner.ready()

    async def close(self) -> None:
        await self.breaker.close()
        await self.inner.close()

    async def _may_retry(self, error: SegmenterError, deadline: Deadline) -> bool:
        """Whether to ask again, after a random pause in which a crowd of failed calls spreads."""
        pause = random.uniform(0, self._retry.jitter)  # noqa: S311  no secret
        if not (self._retry.enabled and error.retryable and deadline.remaining() > pause and self._budget.spend()):
            return False
        log.warning("a segmenter call is made once more: %s", error, exc_info=error)
        await asyncio.sleep(pause)
        return True


class RetryBudget:
    """Second calls in proportion to first ones: each first call earns `ratio` of a second, `reserve` at most are saved.

    A segmenter that fails altogether is so asked at most 1 + `ratio` times as often as when it works.
    """

    def __init__(self, ratio: float, reserve: int) -> None:
        self._ratio = ratio
        self._reserve = reserve
        self._saved = float(reserve)

    def earn(self) -> None:
        self._saved = min(self._reserve, self._saved + self._ratio)

    def spend(self) -> bool:
        """Take one second call out, if there is one."""
        if self._saved < 1:
            return False
        self._saved -= 1
        return True
