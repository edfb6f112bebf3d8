"""The turns being generated together: rows join between two steps and leave when they end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from torch import Tensor

from rsagent.deadline import Deadline
from rsagent.errors import ContextOverflow, RSAgentError
from rsagent.policy.checkpoint import Checkpoint
from rsagent.policy.kv import Keys, PrefixCache, common_prefix
from rsagent.policy.network import Network
from rsagent.policy.prompt import Prompt, PromptEncoder
from rsagent.policy.protocol import History, PolicyTurn, Sampling, TextDelta
from rsagent.policy.sampling import Sampler, log_probability
from rsagent.policy.settings import LocalPolicySettings
from rsagent.policy.textstream import TextStream

Event = TextDelta | PolicyTurn | RSAgentError
Finish = Literal["stop", "length"]


@dataclass(slots=True, eq=False)
class Job:
    """A turn that is asked for. `emit` is called from the engine's thread; `cancelled` may be set from any."""

    history: History = field(repr=False)
    sampling: Sampling
    deadline: Deadline
    emit: Callable[[Event], object]
    cancelled: bool = False

    @property
    def wanted(self) -> bool:
        return not self.cancelled and not self.deadline.expired

    def tell(self, event: Event) -> None:
        """Emit, unless nobody listens any more: the loop that asked has closed."""
        try:
            self.emit(event)
        except RuntimeError:
            self.cancelled = True


@dataclass(slots=True, eq=False)
class Row:
    """A turn in the making. The last of `tokens` is sampled, but not yet read by the network."""

    job: Job
    prompt: Prompt
    cached: int
    room: int
    sampler: Sampler
    text: TextStream
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Tokens whose keys and values are in the slot."""
        return len(self.prompt) + len(self.tokens) - 1

    @property
    def keys(self) -> Keys:
        """Names of those tokens."""
        return np.concatenate([self.prompt.keys, np.array(self.tokens[:-1], dtype=np.int64)])

    def turn(self, finish: Finish) -> PolicyTurn:
        asked = self.job.sampling.logprobs
        return PolicyTurn(
            text=self.text.text,
            prompt_tokens=len(self.prompt),
            cached_tokens=self.cached,
            completion_tokens=len(self.tokens),
            finish=finish,
            token_ids=tuple(self.tokens) if asked else (),
            logprobs=tuple(self.logprobs),
        )


class Batch:
    """All rows of one model, and the cache of what earlier turns computed. One thread's; knows nothing of threads."""

    def __init__(self, checkpoint: Checkpoint, settings: LocalPolicySettings) -> None:
        self._encoder = PromptEncoder(checkpoint)
        self.network = Network(checkpoint, settings.image_cache_bytes)
        self.prefixes = PrefixCache(settings.prefix_cache_bytes)
        self._slots = self.network.slots(settings.max_batch)
        self._tokenizer = checkpoint.tokenizer.backend_tokenizer
        self._ends = checkpoint.end_ids
        self._max_context = min(settings.max_context, self.network.max_context)
        self.rows: list[Row] = []

    def admit(self, job: Job) -> None:
        """Read a job's prompt into a new row and sample its first token. Raises ContextOverflow if it does not fit."""
        prompt = self._encoder.encode(job.history)
        room = min(job.sampling.max_tokens, self._max_context - len(prompt))
        if room < 1:
            told = f"the conversation has {len(prompt)} tokens of at most {self._max_context}"
            raise ContextOverflow(f"{told}; use fewer turns or smaller views")
        self._slots.reserve(len(prompt) + room)
        number = len(self.rows)
        cached = self._restore(prompt, number)
        logits = self.network.read(prompt, cached, self._slots, number)
        text = TextStream(self._tokenizer, job.sampling.stop)
        self.rows.append(Row(job, prompt, cached, room, Sampler(job.sampling), text))
        self._advance(self.rows[-1:], logits[None])

    def step(self) -> None:
        """Drop rows nobody waits for, then sample one token for each of the others."""
        for row in [row for row in self.rows if not row.job.wanted]:
            self._remove(row)
        if not self.rows:
            return
        rows = list(self.rows)
        logits = self.network.step(
            [row.tokens[-1] for row in rows],
            [row.prompt.next_position + len(row.tokens) - 1 for row in rows],
            [row.length for row in rows],
            self._slots,
        )
        self._advance(rows, logits)

    def fail(self, error: RSAgentError) -> None:
        """Tell every row that it failed, and forget them."""
        rows, self.rows = self.rows, []
        for row in rows:
            row.job.tell(error)

    def forget(self) -> None:
        """Drop all that was computed with the present weights."""
        self.prefixes.clear()
        self.network.forget()

    def _restore(self, prompt: Prompt, number: int) -> int:
        """Copy the longest known start of a prompt into row `number`; how many tokens of it.

        The last token is always read anew: its logits are what the turn starts from.
        """
        most = len(prompt) - 1
        shared = [common_prefix(row.keys, prompt.keys) for row in self.rows]
        best = max(range(len(shared)), key=shared.__getitem__, default=None)
        count, kept = self.prefixes.find(prompt.keys)
        if best is not None and shared[best] > count:
            count = min(shared[best], most)
            self._slots.move(best, number, count)
        elif kept is not None:
            count = min(count, most)
            self._slots.write(number, kept[:, :, :, :count])
        return count

    def _advance(self, rows: list[Row], logits: Tensor) -> None:
        """Sample a token for each row, then let go of those that ended: places move only once all have their token."""
        for row, scores in zip(rows, logits, strict=True):
            self._sample(row, scores)
        for row in rows:
            if (finish := self._finish(row)) is not None:
                self._complete(row, finish)

    def _sample(self, row: Row, logits: Tensor) -> None:
        token = row.sampler.choose(logits)
        row.tokens.append(token)
        if row.job.sampling.logprobs:
            row.logprobs.append(log_probability(logits, token, row.job.sampling.temperature))
        piece = "" if token in self._ends else row.text.push(token)
        if piece:
            row.job.tell(TextDelta(piece))

    def _finish(self, row: Row) -> Finish | None:
        if row.tokens[-1] in self._ends or row.text.stopped:
            return "stop"
        return "length" if len(row.tokens) >= row.room else None

    def _complete(self, row: Row, finish: Finish) -> None:
        keys = row.keys
        self.prefixes.keep(keys, self._slots.read(self.rows.index(row), len(keys)))
        self._remove(row)
        if rest := row.text.flush():
            row.job.tell(TextDelta(rest))
        row.job.tell(row.turn(finish))

    def _remove(self, row: Row) -> None:
        """Free a row's place; the last row moves into it."""
        place = self.rows.index(row)
        last = self.rows.pop()
        if last is not row:
            self._slots.move(len(self.rows), place, last.length)
            self.rows[place] = last
