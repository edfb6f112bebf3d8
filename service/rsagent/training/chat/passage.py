"""Episodes as token sequences, with the tokens to be learned marked.

Every prompt is written by the `PromptEncoder` that serves. An episode is one sequence as long as each prompt goes on
where the turn before it ended. It need not: a template may drop earlier thoughts, and a sampled word may be spelled
in other tokens than those its text is read back as. A new sequence starts there, so that each token is learned in
exactly the context in which it was said (the "interleaved or branched" rule of agentic trainers, such as prime-rl's).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rsagent.errors import CheckpointError
from rsagent.policy.prompt import Prompt, PromptEncoder
from rsagent.policy.protocol import History, ImagePart


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """A turn: the prompt before it, the tokens that followed, whether they are to be learned, and, where they were
    sampled, the natural logarithms of their chances then."""

    prompt: Prompt
    ids: tuple[int, ...]
    learn: bool = True
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """`ids` int64 [n]; `positions` int64 [3, n], M-RoPE's; `learn` bool [n]: the tokens whose prediction is trained;
    `logprobs` float32 [n]: the sampler's where it sampled, 0 elsewhere; `images` in the order of their places."""

    ids: Tensor
    positions: Tensor
    learn: Tensor
    logprobs: Tensor
    images: tuple[ImagePart, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.ids)


def join(turns: Sequence[Said]) -> list[Passage]:
    """The turns of one episode as few sequences as their prompts allow; none for turns without a token to learn."""
    drafts: list[_Draft] = []
    for turn in turns:
        if not drafts or not drafts[-1].leads_to(turn.prompt):
            drafts.append(_Draft())
        drafts[-1].add(turn)
    return [draft.passage() for draft in drafts if any(draft.learn)]


def spoken(encoder: PromptEncoder, ends: Collection[int], history: History, learn: Sequence[bool]) -> list[Said]:
    """The assistant's turns of a whole conversation, each with its closing token.

    `learn` says of each whether it is to be learned; `ends` are the ids that end a turn. Raises ValueError where
    `learn` has another length, CheckpointError where the chat template writes a turn in another place than it asks
    for one.
    """
    places = [place for place, message in enumerate(history) if message.role == "assistant"]
    if len(places) != len(learn):
        raise ValueError(f"{len(places)} turns of the assistant, but {len(learn)} marks of what to learn")
    if not places:
        return []
    prompts = [encoder.encode(history[:place]) for place in places]
    after = [*prompts[1:], encoder.encode(history[: places[-1] + 1])]
    return [
        Said(prompt, _between(prompt, later, ends), taught)
        for prompt, later, taught in zip(prompts, after, learn, strict=True)
    ]


def _between(prompt: Prompt, later: Prompt, ends: Collection[int]) -> tuple[int, ...]:
    """What was said after `prompt`, as `later`, which holds it, spells it: up to the first token that ends a turn."""
    said: list[int] = later.ids[len(prompt) :].tolist()
    stop = next((place for place, token in enumerate(said) if token in ends), None)
    if stop is None or not torch.equal(later.ids[: len(prompt)], prompt.ids):
        raise CheckpointError(
            "the chat template rewrites earlier turns or closes none, so what was said cannot be told from the prompt:"
            " train with the template of an Instruct checkpoint"
        )
    return tuple(said[: stop + 1])


class _Draft:
    """A passage in the making."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.positions: list[Tensor] = []
        self.learn: list[bool] = []
        self.logprobs: list[float] = []
        self.images: tuple[ImagePart, ...] = ()

    def leads_to(self, prompt: Prompt) -> bool:
        """Whether all of this is how `prompt` begins."""
        count = len(self.ids)
        return count <= len(prompt) and prompt.ids[:count].tolist() == self.ids

    def add(self, turn: Said) -> None:
        """Append what the turn's prompt adds, and the turn."""
        prompt, count = turn.prompt, len(self.ids)
        self._append(prompt.ids[count:].tolist(), prompt.positions[:, count:])
        self.images = tuple(span.image for span in prompt.images)
        places = torch.arange(prompt.next_position, prompt.next_position + len(turn.ids)).expand(3, -1)
        self._append(list(turn.ids), places, turn.learn, turn.logprobs)

    def _append(self, ids: list[int], positions: Tensor, learn: bool = False, logprobs: tuple[float, ...] = ()) -> None:
        self.ids += ids
        self.positions.append(positions)
        self.learn += [learn] * len(ids)
        self.logprobs += logprobs or [0.0] * len(ids)

    def passage(self) -> Passage:
        return Passage(
            torch.tensor(self.ids, dtype=torch.long),
            torch.cat(self.positions, dim=1),
            torch.tensor(self.learn, dtype=torch.bool),
            torch.tensor(self.logprobs, dtype=torch.float32),
            self.images,
        )
