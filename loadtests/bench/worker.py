"""`python -m loadtests.bench.worker ROLE PLAN`: a baseline, the limit, or one engine alone, in a process of its own.

It says `ready`, then plays what each line of stdin tells it to ({"numbers": [0, 1], "clients": 1}) and answers with a
line of what that took. Recordings are read before the clock starts.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from loadtests.bench import forcing, replay
from loadtests.bench.account import Account
from loadtests.bench.loop import Clicker, Loop, Served, Speaker, Transformers
from loadtests.bench.plan import Plan, engines, segmenter_of
from loadtests.bench.recording import Library, Recording
from rsagent.agent import dialects
from rsagent.allocator import keep_memory
from rsagent.engines.command import MODEL
from rsagent.policy.checkpoint import load
from rsagent.policy.protocol import ViewSpec
from rsagent.service import load_policy

Play = Callable[[Sequence[Recording], int], Awaitable[Account]]


@asynccontextmanager
async def looping(plan: Plan) -> AsyncIterator[Play]:
    """The baselines' loop, over the policy that the settings name."""
    policy, core = plan.settings.policy, plan.sam.core()
    model = core._model  # the predictor takes the model itself, and nobody else does
    if policy.kind == "openai":
        dialect, found = policy.openai.dialect, policy.openai
        view = ViewSpec(found.max_pixels, found.factor, found.min_pixels)

        def speaker() -> Speaker:
            return Served(found, found.model or MODEL, dialects.get(dialect).stop)
    else:
        checkpoint = load(policy.local)
        dialect, view = checkpoint.dialect, checkpoint.view

        def speaker() -> Speaker:
            return Transformers(checkpoint)

    loop = Loop(speaker, lambda: Clicker(model), dialect, view)

    async def play(recordings: Sequence[Recording], clients: int) -> Account:
        return await asyncio.to_thread(loop.play, recordings, clients)

    yield play


@asynccontextmanager
async def replaying(plan: Plan) -> AsyncIterator[Play]:
    """The engines, and nothing around them."""
    forcing.install()
    async with engines(plan) as (policy, segmenter):
        stop = dialects.get(policy.dialect).stop

        async def play(recordings: Sequence[Recording], clients: int) -> Account:
            return await replay.play(recordings, policy, segmenter, clients, stop)

        yield play


@asynccontextmanager
async def prompting(plan: Plan) -> AsyncIterator[Play]:
    """The segmenter alone: all prompts of the recordings, as fast as it takes them."""
    segmenter = await asyncio.to_thread(segmenter_of, plan)

    async def play(recordings: Sequence[Recording], clients: int) -> Account:
        return await replay.prompts(recordings, segmenter, clients)

    try:
        yield play
    finally:
        await segmenter.close()


@asynccontextmanager
async def talking(plan: Plan, most: int = 1 << 20) -> AsyncIterator[Play]:
    """The policy alone: all turns of the recordings, up to `most` tokens of each."""
    forcing.install()
    policy = await asyncio.to_thread(load_policy, plan.settings.policy)
    stop = dialects.get(policy.dialect).stop

    async def play(recordings: Sequence[Recording], clients: int) -> Account:
        return await replay.turns(recordings, policy, clients, stop, most)

    try:
        yield play
    finally:
        await policy.close()


ROLES = {
    "loop": looping,
    "replay": replaying,
    "prompts": prompting,
    "speaking": talking,
    "reading": partial(talking, most=1),
}


async def work(role: str, plan: Plan) -> None:
    """Play until stdin ends."""
    library = Library(plan.library)
    async with ROLES[role](plan) as play:
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            told = json.loads(line)
            recordings = await asyncio.to_thread(partial(library.several, told["numbers"]))
            started = time.perf_counter()
            account = await play(recordings, told["clients"])
            print(json.dumps({"seconds": time.perf_counter() - started, "account": asdict(account)}), flush=True)


if __name__ == "__main__":
    keep_memory()  # as the service does: what the C library keeps is no merit of anyone's design
    asyncio.run(work(sys.argv[1], Plan.read(Path(sys.argv[2]))))
