"""Contender (c), the limit: the recorded prompts and tokens straight into the engines.

The engines are those of the service, with its settings, caches and batching. What is left out is all that is between
them and a client: HTTP, events, reading pictures, parsing, drawing, masks in an answer. Turns of an episode follow
one another, as they must: each prompt goes on from what the one before left in the cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from loadtests.bench.account import Account
from loadtests.bench.forcing import Forced
from loadtests.bench.recording import RecordedTurn, Recording
from rsagent.deadline import Deadline
from rsagent.policy.protocol import Policy, PolicyTurn, Sampling
from rsagent.segmenter.protocol import Segmenter


async def play(
    recordings: Sequence[Recording], policy: Policy, segmenter: Segmenter, clients: int, stop: tuple[str, ...]
) -> Account:
    """All recordings, `clients` at a time; the sum of what they cost."""
    waiting = iter(recordings)

    async def client() -> Account:
        return Account.total([await _episode(recording, policy, segmenter, stop) for recording in waiting])

    return Account.total(await asyncio.gather(*(client() for _ in range(clients))))


async def prompts(recordings: Sequence[Recording], segmenter: Segmenter, clients: int) -> Account:
    """Only what the segmenter is asked, without a policy between two prompts."""
    waiting = iter([(recording, turn.prompt) for recording in recordings for turn in recording.turns])

    async def client() -> Account:
        account = Account()
        for recording, prompt in waiting:
            result = await segmenter.segment(recording.image_id, recording.image, prompt, Deadline.never())
            account += Account(encodes=int(result.encoded), decodes=1)
        return account

    return Account.total(await asyncio.gather(*(client() for _ in range(clients))))


async def turns(
    recordings: Sequence[Recording], policy: Policy, clients: int, stop: tuple[str, ...], most: int
) -> Account:
    """Only what the policy is asked, turns of at most `most` tokens, without a segmenter between two turns."""
    waiting = iter(recordings)

    async def client() -> Account:
        account = Account()
        for recording in waiting:
            for recorded in recording.turns:
                short = replace(recorded, ids=recorded.ids[:most])
                turn = await _said(short, policy, Sampling(stop=stop, seed=recording.number))
                account += Account(
                    turns=1,
                    prompt_tokens=turn.prompt_tokens,
                    cached_tokens=turn.cached_tokens,
                    completion_tokens=turn.completion_tokens,
                )
        return account

    return Account.total(await asyncio.gather(*(client() for _ in range(clients))))


async def _episode(recording: Recording, policy: Policy, segmenter: Segmenter, stop: tuple[str, ...]) -> Account:
    account, turn = Account(episodes=1, images=len(recording.turns)), PolicyTurn("")
    for recorded in recording.turns:
        turn = await _said(recorded, policy, Sampling(stop=stop, seed=recording.number))
        result = await segmenter.segment(recording.image_id, recording.image, recorded.prompt, Deadline.never())
        account += Account(
            turns=1,
            encodes=int(result.encoded),
            decodes=1,
            prompt_tokens=turn.prompt_tokens,
            cached_tokens=turn.cached_tokens,
            completion_tokens=turn.completion_tokens,
        )
    return account + Account(conversation_tokens=turn.prompt_tokens)


async def _said(recorded: RecordedTurn, policy: Policy, sampling: Sampling) -> PolicyTurn:
    stream = policy.act(recorded.history, Forced.of(sampling, recorded.ids), Deadline.never())
    async with aclosing(stream) as events:
        async for event in events:
            if isinstance(event, PolicyTurn):
                return event
    raise RuntimeError("the policy ended without a turn")
