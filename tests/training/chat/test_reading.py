"""The trainer's reading gives the chances that transformers gives, and those that the sampler told."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest
import torch
from tests.policy.tiny import first_turn, next_turn
from tests.training.chat.test_passage import passages

from rsagent.deadline import Deadline
from rsagent.policy.checkpoint import Checkpoint
from rsagent.policy.local import LocalPolicy
from rsagent.policy.prompt import PromptEncoder
from rsagent.policy.protocol import History, PolicyTurn, Sampling
from rsagent.training.chat import Said, join
from rsagent.training.chat.reading import Reader
from rsagent.training.sft.batches import Collator


async def said(policy: LocalPolicy, history: History, seed: int, temperature: float) -> PolicyTurn:
    sampling = Sampling(temperature=temperature, seed=seed, max_tokens=12, logprobs=True)
    async with aclosing(policy.act(history, sampling, Deadline.never())) as events:
        async for event in events:
            if isinstance(event, PolicyTurn):
                return event
    raise AssertionError("no turn came")


async def two_turns(checkpoint: Checkpoint, seed: int, temperature: float = 1.0) -> list[Said]:
    policy, encoder, factor = LocalPolicy(checkpoint), PromptEncoder(checkpoint), checkpoint.view.factor
    history, turns = first_turn(seed, factor), []
    for number in range(2):
        turn = await said(policy, history, seed + number, temperature)
        turns.append(Said(encoder.encode(history), turn.token_ids, logprobs=turn.logprobs))
        history = next_turn(history, turn.text, seed, factor)
    await policy.close()
    return turns


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_trainers_chances_are_the_samplers(checkpoint: Checkpoint, temperature: float) -> None:
    several = [passage for seed in (3, 4, 5) for passage in join(asyncio.run(two_turns(checkpoint, seed, temperature)))]
    told = Reader(checkpoint).tell(several, temperature)
    sampled = torch.cat([passage.logprobs[passage.learn] for passage in several])
    assert told.logprobs.detach().numpy() == pytest.approx(sampled.numpy(), abs=2e-3)
    assert told.owner.tolist() == [row for row, passage in enumerate(several) for _ in range(int(passage.learn.sum()))]
    assert bool((told.entropy >= 0).all())


def test_the_trainers_chances_are_those_of_transformers(checkpoint: Checkpoint) -> None:
    several = passages(checkpoint, (True, True)) + passages(checkpoint, (False, True))
    told = Reader(checkpoint).tell(several)
    batch = Collator(checkpoint)([several])
    with torch.no_grad():
        logits = checkpoint.model(**{name: value for name, value in batch.items() if name != "labels"}).logits
        loss = checkpoint.model(**batch).loss
    at = batch["labels"][:, 1:] != -100
    whole = torch.log_softmax(logits[:, :-1][at].float(), -1).gather(1, batch["input_ids"][:, 1:][at][:, None])[:, 0]
    assert told.logprobs.detach().numpy() == pytest.approx(whole.numpy(), abs=2e-3)
    assert float(loss) == pytest.approx(-float(told.logprobs.detach().mean()), abs=2e-3)


def test_a_sampled_word_that_is_the_pictures_placeholder_shows_no_picture(qwen3: Checkpoint) -> None:
    passage = passages(qwen3, (True, True))[0]
    ids = passage.ids.clone()
    ids[int(passage.learn.nonzero()[0])] = int(qwen3.model.config.image_token_id)
    told = Reader(qwen3).tell([replace(passage, ids=ids)])
    assert len(told.logprobs) == int(passage.learn.sum())
    assert bool(told.logprobs.isfinite().all())


def test_a_resting_tower_gets_no_gradient_and_looks_once(qwen3: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    genuine = qwen3.model.model.get_image_features

    def counted(pixels: torch.Tensor, grid: torch.Tensor) -> object:
        looked.append(len(grid))
        return genuine(pixels, grid)

    monkeypatch.setattr(qwen3.model.model, "get_image_features", counted)
    reader, several = Reader(qwen3), passages(qwen3, (True, True)) * 2
    qwen3.model.requires_grad_(True)
    for _ in range(2):
        reader.tell(several).logprobs.sum().backward()  # type: ignore[no-untyped-call]
    tower = [parameter.grad for parameter in qwen3.model.model.visual.parameters()]
    assert looked == [2]
    assert all(gradient is None for gradient in tower)
    images = [image.uuid for passage in several for image in passage.images]
    reader.forget(but=images)
    reader.tell(several)
    assert looked == [2]
    reader.forget()
    reader.tell(several)
    assert looked == [2, 2]
    Reader(qwen3, tower=True).tell(several).logprobs.sum().backward()  # type: ignore[no-untyped-call]
    assert any(parameter.grad is not None for parameter in qwen3.model.model.visual.parameters())
    qwen3.model.zero_grad(set_to_none=True)
