"""What a contender did, counted in the units of the cost model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Account:
    """Counts over some episodes.

    `encodes` and `decodes` are the segmenter's; `images` those that the policy is shown, each counted once an episode,
    and `images_sent` how often one was handed to it; `pictures_sent` how often a picture went to a replica of the
    segmenter. `prompt_tokens` are those of all turns' prompts, `cached_tokens` those of them that were not computed
    again; `conversation_tokens` are the prompts of last turns: every token of an episode's conversation, once.
    """

    episodes: int = 0
    turns: int = 0
    encodes: int = 0
    decodes: int = 0
    images: int = 0
    images_sent: int = 0
    pictures_sent: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    conversation_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Account) -> Account:
        return Account(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    @property
    def prefilled(self) -> float:
        """Prompt tokens computed, over those of the conversations: 1 where each is computed once.

        Below 1 where an engine also keeps what it generated itself.
        """
        return (self.prompt_tokens - self.cached_tokens) / max(1, self.conversation_tokens)

    @property
    def embedding_hits(self) -> float:
        """The share of segmenter calls after an episode's first that found the picture encoded."""
        return 1 - (self.encodes - self.episodes) / max(1, self.decodes - self.episodes)

    @classmethod
    def total(cls, each: Iterable[Account]) -> Account:
        """The sum."""
        return sum(each, cls())


def of_answer(answer: dict[str, Any]) -> Account:
    """What an answer of the service (its `final` event) says that it cost.

    The policy is shown the picture and after each turn but the last a new view. How often one was sent to it is the
    engine's to say: it is left at 0.
    """
    tokens = [turn["tokens"] for turn in answer["turns"]]
    return Account(
        episodes=1,
        turns=len(tokens),
        encodes=answer["usage"]["image_encodes"],
        decodes=sum(turn["mask_id"] is not None for turn in answer["turns"]),
        images=len(tokens),
        prompt_tokens=sum(each["prompt"] for each in tokens),
        cached_tokens=sum(each["cached"] for each in tokens),
        conversation_tokens=tokens[-1]["prompt"],
        completion_tokens=sum(each["completion"] for each in tokens),
    )
