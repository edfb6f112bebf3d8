"""Playing groups of episodes: every request several times over, all at once, by the loop that serves."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from rsagent.agent.runner import Runner, play_to_end
from rsagent.agent.state import Budget, EpisodeResult, StopReason, Turn
from rsagent.deadline import Deadline
from rsagent.policy.prompt import PromptEncoder
from rsagent.policy.protocol import Sampling
from rsagent.training.chat import Passage, Said, join, spoken
from rsagent.training.rl.pool import Item
from rsagent.training.rl.trace import Trace, trace

BROKEN = frozenset({StopReason.ENGINE_ERROR, StopReason.DEADLINE, StopReason.CANCELLED})
"""Ends that say nothing about the policy: such an episode is left out of its group."""


@dataclass(frozen=True, slots=True, eq=False)
class Rollout:
    """One episode of a group, counted. `result` keeps what was said, with its tokens and their chances. `led`: after
    how many turns another than the policy went on with it, None for an episode of its own."""

    item: Item
    result: EpisodeResult = field(repr=False)
    trace: Trace
    led: int | None = None

    @property
    def said(self) -> tuple[int, ...]:
        """All tokens that the policy sampled, of one turn after the other."""
        return tuple(token for turn in self._own for token in turn.reply.token_ids)

    @property
    def _own(self) -> list[Turn]:
        return [turn for turn in self.result.state.turns if not turn.given]

    def passages(self, encoder: PromptEncoder, ends: Collection[int], until: int | None = None) -> list[Passage]:
        """What the policy sampled, in the contexts it sampled it in: nothing else of an episode is learned. Of one that
        was led, what was said from there on, with chances that are not a number: no policy sampled it. `ends` are the
        ids that end a turn. Else `until` leaves out the turns after that with this token of `said`."""
        turns = self.result.state.turns
        history = self.result.state.history
        if self.led is not None:
            said = spoken(encoder, ends, history[: 2 + 2 * len(turns)], [turn.index > self.led for turn in turns])
            return join([replace(one, logprobs=(math.nan,) * len(one.ids)) for one in said])
        starts = accumulate((len(turn.reply.token_ids) for turn in self._own), initial=0)
        return join(
            [
                Said(encoder.encode(history[: 2 * turn.index]), turn.reply.token_ids, logprobs=turn.reply.logprobs)
                for turn, start in zip(self._own, starts, strict=False)
                if until is None or start <= until
            ]
        )


def to_learn_from(temperature: float, seed: int) -> Sampling:
    """How turns are sampled that are to be learned from: with their chances, a sentence and a call long."""
    return Sampling(temperature=temperature, seed=seed, max_tokens=192, logprobs=True)


async def play_groups(
    runner: Runner,
    items: Sequence[Item],
    group: int,
    budget: Budget,
    *,
    seed: int,
    temperature: float = 1.0,
    seconds: float = 3600.0,
) -> list[list[Rollout]]:
    """Each item `group` times, all at once. To learn from them, what samples must tell the chances at that temperature,
    as the policy in this process does, and a vLLM with `--logprobs-mode processed_logprobs`. The same for the same
    seed and weights, as far as the engine's arithmetic is.

    Episodes that an engine's failure broke are left out; a group may come back smaller.
    """
    deadline = Deadline.after(seconds)

    async def one(item: Item, number: int) -> Rollout | None:
        sampling = to_learn_from(temperature, seed * 100_003 + number)
        events = runner.play(item.image, item.query, budget=budget, deadline=deadline, sampling=sampling)
        result = (await play_to_end(events)).result
        return None if result.stop in BROKEN else Rollout(item, result, trace(result, item.truth))

    played = await asyncio.gather(
        *(one(item, place * group + k) for place, item in enumerate(items) for k in range(group))
    )
    groups = [played[place * group : (place + 1) * group] for place in range(len(items))]
    return [[rollout for rollout in members if rollout is not None] for members in groups]
