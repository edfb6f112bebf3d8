from __future__ import annotations

import numpy as np
import torch
from tests.training.policy.stages import model, scribe

from rsagent.training.policy.dense import IGNORE
from rsagent.training.policy.recall import Recall, recall
from rsagent.training.world.knowledge import facts


def test_held_out_sentences_are_not_told() -> None:
    held = {fact.text for known in facts("told").values() for fact in known if fact.voice == "heldout"}
    assert not held & {text for _, text in Recall(scribe()).sentences}


def test_a_row_asks_with_the_sentence_and_answers_with_the_name() -> None:
    ids, labels = Recall(scribe()).row("dog", "the animal that barks")
    text = scribe().tokenizer.decode(ids)
    assert "the animal that barks" in text
    assert text.endswith("<think>The dog")
    assert scribe().tokenizer.decode([label for label in labels if label != IGNORE]) == "The dog."


def test_a_batch_has_a_loss_and_a_share_that_is_right() -> None:
    ids, labels = Recall(scribe(), [("dog", "an animal")]).batch(4, np.random.default_rng(0))
    loss, right = recall(model(), ids, labels)
    assert loss.requires_grad
    assert 0 <= right <= 1
    assert torch.isfinite(loss)
