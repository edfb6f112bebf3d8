"""What is trained on is what is served: the same ids in the same places, and only the policy's words are learned."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.policy.tiny import first_turn, next_turn

from rsagent.errors import CheckpointError
from rsagent.policy.checkpoint import Checkpoint
from rsagent.policy.prompt import PromptEncoder
from rsagent.policy.protocol import History, Message
from rsagent.training.chat import Passage, Said, join, spoken

FIRST = '<think>look at it</think><tool_call>{"name": "segment"}</tool_call>'
THEN = "<think>é 東 red fox</think><tool_call>{}</tool_call>"


def episode(checkpoint: Checkpoint) -> History:
    """Two turns, the second after an observation with a picture of its own."""
    factor = checkpoint.view.factor
    return (*next_turn(first_turn(1, factor), FIRST, 1, factor), Message.of("assistant", THEN))


def passages(checkpoint: Checkpoint, learn: tuple[bool, ...]) -> list[Passage]:
    encoder = PromptEncoder(checkpoint)
    return join(spoken(encoder, checkpoint.end_ids, episode(checkpoint), learn))


def text_of(checkpoint: Checkpoint, ids: torch.Tensor) -> str:
    return str(checkpoint.tokenizer.decode(ids.tolist(), skip_special_tokens=False))


def test_every_prompt_that_is_served_is_how_the_passage_begins(checkpoint: Checkpoint) -> None:
    (passage,) = passages(checkpoint, (True, True))
    encoder, history = PromptEncoder(checkpoint), episode(checkpoint)
    for asked in (history[:2], history[:4]):
        prompt = encoder.encode(asked)
        assert passage.ids[: len(prompt)].tolist() == prompt.ids.tolist()
        assert torch.equal(passage.positions[:, : len(prompt)], prompt.positions)
    assert [image.uuid for image in passage.images] == [span.image.uuid for span in prompt.images]


def test_only_the_policys_words_and_their_end_are_learned(checkpoint: Checkpoint) -> None:
    (passage,) = passages(checkpoint, (True, True))
    assert text_of(checkpoint, passage.ids[passage.learn]) == f"{FIRST}<|im_end|>{THEN}<|im_end|>"


def test_a_turn_that_is_not_to_be_learned_is_read_all_the_same(checkpoint: Checkpoint) -> None:
    (both,), (second,) = passages(checkpoint, (True, True)), passages(checkpoint, (False, True))
    assert torch.equal(both.ids, second.ids)
    assert text_of(checkpoint, second.ids[second.learn]) == f"{THEN}<|im_end|>"
    assert passages(checkpoint, (False, False)) == []


def test_words_spelled_in_other_tokens_start_a_passage_of_their_own(qwen3: Checkpoint) -> None:
    encoder, history = PromptEncoder(qwen3), episode(qwen3)
    first, second = spoken(encoder, qwen3.end_ids, history, (True, True))
    letters = qwen3.tokenizer.convert_tokens_to_ids(list("look"))
    odd = replace(first, ids=tuple(letters), logprobs=(-1.0,) * len(letters))
    apart = join([odd, second])
    assert [len(passage) for passage in apart] == [len(first.prompt) + 4, len(second.prompt) + len(second.ids)]
    assert apart[0].logprobs[apart[0].learn].tolist() == [-1.0] * 4
    assert text_of(qwen3, apart[1].ids[apart[1].learn]) == f"{THEN}<|im_end|>"


def test_sampled_turns_without_a_closing_token_still_join(qwen3: Checkpoint) -> None:
    encoder, history = PromptEncoder(qwen3), episode(qwen3)
    turns = spoken(encoder, qwen3.end_ids, history, (True, True))
    cut = [Said(turn.prompt, turn.ids[:-1], logprobs=(-0.5,) * (len(turn.ids) - 1)) for turn in turns]
    (passage,) = join(cut)
    assert text_of(qwen3, passage.ids[passage.learn]) == FIRST + THEN
    assert set(passage.logprobs[passage.learn].tolist()) == {-0.5}


def test_marks_must_be_as_many_as_turns(qwen3: Checkpoint) -> None:
    with pytest.raises(ValueError, match="2 turns of the assistant, but 1 marks"):
        spoken(PromptEncoder(qwen3), qwen3.end_ids, episode(qwen3), (True,))


def test_a_conversation_without_turns_teaches_nothing(qwen3: Checkpoint) -> None:
    assert join(spoken(PromptEncoder(qwen3), qwen3.end_ids, first_turn(1, 32), ())) == []


def test_a_template_that_rewrites_earlier_turns_is_refused(qwen3: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = qwen3.tokenizer.chat_template.replace("assistant\n{% endif", "assistant\nWell: {% endif")
    monkeypatch.setattr(qwen3.tokenizer, "chat_template", opened)
    with pytest.raises(CheckpointError, match="Instruct"):
        spoken(PromptEncoder(qwen3), qwen3.end_ids, episode(qwen3), (True, True))
