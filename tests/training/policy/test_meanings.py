from __future__ import annotations

import torch
from tests.training.policy.stages import scribe

from rsagent.training.policy.export import fresh
from rsagent.training.policy.meanings import Meaning, Spoken, loose_tokens, plain, widen

NEW = 5


def widened() -> tuple[Meaning, object]:
    size = len(scribe().tokenizer)
    vectors = torch.randn(size + NEW, 100, generator=torch.Generator().manual_seed(0))
    model = fresh(scribe().tokenizer)
    loose = torch.arange(size + NEW) >= size
    return widen(model, vectors, loose), model


def test_regression_leaves_what_was_learned_as_it_is() -> None:
    meaning, _ = widened()
    ids = torch.arange(300, 500)
    before = meaning.eval()(ids)
    meaning.regress(ids)
    assert torch.allclose(meaning(ids), before, atol=1e-4)
    assert meaning(torch.tensor([len(meaning.base)])).abs().sum() > 0


def test_only_loose_words_are_blurred_and_only_in_training() -> None:
    meaning, _ = widened()
    meaning.regress(torch.arange(300, 500))
    old, new = torch.tensor([350]), torch.tensor([len(meaning.base) + 1])
    assert torch.equal(meaning.train()(old), meaning(old))
    assert not torch.equal(meaning(new), meaning(new))
    assert torch.equal(meaning.eval()(new), meaning(new))


def test_what_is_hard_is_blurred_more() -> None:
    meaning, _ = widened()
    meaning.regress(torch.arange(300, 500))
    ids = torch.arange(len(meaning.base) + NEW)[None, -NEW:].repeat(200, 1)
    clear = meaning.eval()(ids)
    easy, hard = ((meaning.train()(ids, torch.full(ids.shape, kind)) - clear).abs().mean() for kind in (False, True))
    assert hard > 1.5 * easy


def test_a_plain_checkpoint_computes_the_same_and_never_says_new_words() -> None:
    meaning, model = widened()
    meaning.regress(torch.arange(300, 500))
    size = len(meaning.vectors)
    from rsagent.training.policy.shape import SPECIAL_TOKENS, new_policy

    ids = {token: scribe().tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    made = plain(model, new_policy(size, ids)).eval()
    assert not made.config.tie_word_embeddings
    tokens = torch.tensor([[300, size - 1, 400]])
    with torch.no_grad():
        states = made.model(input_ids=tokens).last_hidden_state
        theirs, ours = made.lm_head(states), model.eval().lm_head(states)  # type: ignore[attr-defined]
    assert torch.allclose(made.get_input_embeddings()(tokens), meaning.eval()(tokens), atol=1e-5)
    assert torch.allclose(theirs[..., : len(meaning.base)], ours[..., :-1], atol=1e-4)
    assert torch.allclose(theirs[..., len(meaning.base) :].logsumexp(-1), ours[..., -1], atol=1e-3)


def test_the_column_of_new_words_starts_below_what_is_said() -> None:
    weight = torch.full((4, 8), -1.0)
    head = Spoken(weight, 10)
    assert head(torch.ones(1, 8))[0].argmax() < 4


def test_words_of_fixed_texts_are_not_loose() -> None:
    tokens = scribe().tokenizer
    vectors = torch.ones(len(tokens), 100)
    loose = loose_tokens(tokens, vectors, ["find the dog"])
    assert not loose[tokens.encode("find the dog")].any()
    assert loose.any()
