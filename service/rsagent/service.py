"""The composition root: settings in, a service that plays episodes out. API, CLI and evaluation all start here.

async with open_service(settings.load()) as service:
    async with aclosing(service.play(image, "the red cup")) as events:
        async for event in events:
            ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rsagent.agent import dialects
from rsagent.agent.dialects.pattern import turn_pattern
from rsagent.agent.events import Ended, Event
from rsagent.agent.given import Given
from rsagent.agent.runner import Runner
from rsagent.agent.state import Budget
from rsagent.deadline import Deadline
from rsagent.engines import vllm
from rsagent.engines.vllm import Tell, silent
from rsagent.errors import NotConfigured
from rsagent.metrics import MeteredSegmenter, Metrics
from rsagent.policy.protocol import Policy, Sampling
from rsagent.policy.settings import OpenAIPolicySettings
from rsagent.resilience.breaker import Breaker
from rsagent.resilience.engines import GuardedPolicy, GuardedSegmenter
from rsagent.segmenter.protocol import Segmenter
from rsagent.settings import PolicySettings, SegmenterSettings, Settings

T = TypeVar("T")

READY_WITHIN = 2.0
"""Seconds an engine has to say that it is ready."""


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """The engines, ready to play. Safe to use from many tasks of one event loop."""

    settings: Settings
    policy: Policy
    segmenter: Segmenter
    runner: Runner
    metrics: Metrics
    workers: Executor
    breakers: tuple[Breaker, ...] = ()

    def check(self) -> None:
        """Raise Unavailable while an engine is known to be down."""
        for breaker in self.breakers:
            breaker.check()

    async def play(
        self,
        image: NDArray[np.uint8],
        query: str,
        *,
        budget: Budget | None = None,
        deadline: Deadline | None = None,
        sampling: Sampling = Sampling(),
        start: Sequence[Given] = (),
        arrived: float | None = None,
    ) -> AsyncGenerator[Event, None]:
        """`Runner.play`, counted; budget and deadline default to the settings' limits.

        `image` is uint8 [H, W, 3] RGB. `arrived` is when the request came (monotonic), for the time to first mask.
        Raises Overloaded and ShuttingDown; every other end is the last event, `Ended`. Closing the generator (use
        `contextlib.aclosing`) frees everything.
        """
        limits, meter, ended = self.settings.limits, self.metrics.episode(arrived), False
        budget = budget or Budget(turns=limits.turns)
        deadline = deadline or Deadline.after(limits.deadline)
        events = self.runner.play(image, query, budget=budget, deadline=deadline, sampling=sampling, start=start)
        try:
            async with aclosing(events):
                async for event in events:
                    ended = isinstance(event, Ended)
                    meter.saw(event)
                    yield event
        finally:
            if not ended:
                meter.torn_down()

    async def ready(self) -> dict[str, bool]:
        """Whether each engine would serve now; one that does not answer in time would not."""
        policy, segmenter = await asyncio.gather(_is_ready(self.policy), _is_ready(self.segmenter))
        return {"policy": policy, "segmenter": segmenter}

    async def offload(self, work: Callable[[], T]) -> T:
        """Run CPU work on the bounded pool that the episodes' image work uses, too."""
        context = copy_context()  # the request's id, for what is logged there
        return await asyncio.get_running_loop().run_in_executor(self.workers, lambda: context.run(work))


@asynccontextmanager
async def open_service(
    settings: Settings, *, policy: Policy | None = None, segmenter: Segmenter | None = None, tell: Tell = silent
) -> AsyncIterator[Service]:
    """Start what the settings name; on leaving, close it all. An engine that is passed in is used, and closed, too.

    `tell` is told how a start that takes long goes on. Raises NotConfigured, CheckpointError, and EngineError for an
    engine that does not start; their messages name the fix.
    """
    async with AsyncExitStack() as stack:
        workers = ThreadPoolExecutor(settings.limits.workers, thread_name_prefix="rsagent-image")
        stack.callback(workers.shutdown, wait=False, cancel_futures=True)
        chosen = await stack.enter_async_context(policy_started(settings.policy, tell)) if policy is None else None
        player = await asyncio.to_thread(load_policy, chosen or settings.policy) if policy is None else policy
        stack.push_async_callback(player.close)
        masker = segmenter
        if masker is None:
            found = await stack.enter_async_context(segmenter_started(settings.segmenter, tell))
            masker = await asyncio.to_thread(load_segmenter, found)
        stack.push_async_callback(masker.close)
        metrics = Metrics()
        metrics.watch(player)
        guarded = GuardedPolicy(player, settings.resilience.breaker)
        stack.push_async_callback(guarded.breaker.close)
        caring = GuardedSegmenter(masker, settings.resilience.breaker, settings.resilience.retry)
        stack.push_async_callback(caring.breaker.close)
        metrics.watch_breakers(guarded.breaker, caring.breaker)
        metrics.watch_retries(caring)
        metered = MeteredSegmenter(caring, metrics)
        runner = Runner(guarded, metered, workers=workers)
        yield Service(settings, guarded, metered, runner, metrics, workers, (guarded.breaker, caring.breaker))


@asynccontextmanager
async def policy_started(settings: PolicySettings, tell: Tell = silent) -> AsyncIterator[PolicySettings]:
    """Start the policy's servers, where we are to start any; what comes finds them by address.

    Several processes of one service share them so. Raises NotConfigured, CheckpointError and PolicyError.
    """
    if settings.kind != "vllm":
        yield settings
        return
    async with vllm.running(settings.vllm, settings.openai, tell) as found:
        yield settings.model_copy(update={"kind": "openai", "openai": found})


def load_policy(settings: PolicySettings) -> Policy:
    """The policy that the settings name. Loading weights takes seconds: call it off the event loop.

    Raises NotConfigured for kind 'vllm': `policy_started` turns it into addresses first.
    """
    if settings.kind == "vllm":
        raise NotConfigured("vLLM is to be started first; open the service, or give its address as openai.base_url")
    if settings.kind == "openai":
        return _served_policy(settings.openai)
    from rsagent.policy.local import LocalPolicy  # imports torch, which a policy behind a URL does not need

    return LocalPolicy.load(settings.local)


def _served_policy(settings: OpenAIPolicySettings) -> Policy:
    from rsagent.engines.router import RoutedPolicy
    from rsagent.policy.openai import OpenAIPolicy

    pattern = turn_pattern(dialects.get(settings.dialect)) if settings.guided else None
    each = [settings.model_copy(update={"base_url": url}) for url in settings.urls]
    policies = [OpenAIPolicy(one, pattern=pattern) for one in each]
    return policies[0] if len(policies) == 1 else RoutedPolicy(policies, cooldown=settings.cooldown)


@asynccontextmanager
async def segmenter_started(settings: SegmenterSettings, tell: Tell = silent) -> AsyncIterator[SegmenterSettings]:
    """Start Ray with the segmenter's replicas on this machine, where we are to; what comes finds it by address.

    Several processes of one service share it so. Raises NotConfigured and SegmenterError.
    """
    if settings.kind != "ray" or settings.ray.address is not None:
        yield settings
        return
    from rsagent.segmenter.serve import local

    async with local.running(settings, tell) as found:
        yield found


def load_segmenter(settings: SegmenterSettings) -> Segmenter:
    """The segmenter that the settings name. Loading weights takes seconds: call it off the event loop.

    Raises NotConfigured for Ray without an address: `segmenter_started` finds one first.
    """
    if settings.kind == "ray":
        from rsagent.segmenter.serve import cluster  # needs the engines extra, and no torch

        return cluster.load(settings)
    from rsagent.segmenter.pool import SegmenterPool  # imports torch

    return SegmenterPool.load(settings)


async def _is_ready(engine: Policy | Segmenter) -> bool:
    try:
        async with asyncio.timeout(READY_WITHIN):
            return await engine.ready()
    except TimeoutError:
        return False
