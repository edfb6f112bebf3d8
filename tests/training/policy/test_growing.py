from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.training.policy.stages import model, scribe

from rsagent.policy.checkpoint import load
from rsagent.policy.settings import LocalPolicySettings
from rsagent.training.policy.export import export, fresh, mean
from rsagent.training.policy.growing import associate, fillers, fitted, own_words, sentences, shaped, take
from rsagent.training.policy.lexicon import Lexicon, grow
from rsagent.training.policy.meanings import Meaning, Spoken, plain
from rsagent.training.policy.shape import VIEW
from rsagent.training.world.knowledge import facts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run whose tokenizer has two words more than the small model of the tests."""
    vectors = np.random.default_rng(1).normal(size=(2, 100)).astype(np.float32)
    Lexicon(("cider", "dog"), vectors, len(scribe().tokenizer)).save(tmp_path / "words.npz")
    grow(scribe().tokenizer, Lexicon.load(tmp_path / "words.npz"), {"cider"}, []).save_pretrained(
        tmp_path / "tokenizer"
    )
    export(model(), scribe().tokenizer, tmp_path / "start", "card")
    return tmp_path


def test_sentences_are_those_of_training() -> None:
    held = {fact.text for known in facts("told").values() for fact in known if fact.voice == "heldout"}
    assert not held & set(sentences())
    assert "The dog. It fits." in own_words()


def test_without_words_the_model_is_an_ordinary_one(tmp_path: Path) -> None:
    assert not isinstance(shaped(tmp_path, scribe().tokenizer).lm_head, Spoken)


def test_a_grown_policy_begins_where_the_other_ended_and_serves(folder: Path) -> None:
    tokens = load(LocalPolicySettings(checkpoint=str(folder / "start"))).tokenizer.from_pretrained(folder / "tokenizer")
    begun = shaped(folder, tokens)
    take(begun, folder / "start", tokens)
    meaning: Meaning = begun.model.language_model.embed_tokens
    ids = torch.arange(300, 400)
    old = model().model.language_model.embed_tokens.weight.to(torch.bfloat16).float()
    assert torch.allclose(meaning.eval()(ids), old[ids], atol=1e-3)
    export(plain(begun, fresh(tokens)), tokens, folder / "export", "card")
    served = load(LocalPolicySettings(checkpoint=str(folder / "export")))
    assert len(served.tokenizer.encode(" cider")) == 1
    assert served.model.lm_head.weight.shape == (len(tokens), 256)
    assert not served.model.config.tie_word_embeddings


def test_words_that_mean_something_in_requests_are_no_fillers(tmp_path: Path) -> None:
    assert fillers(tmp_path) == ()
    words = ("government", "apple", "left", "red", "all")
    Lexicon(words, np.ones((5, 100), np.float32), 10).save(tmp_path / "words.npz")
    assert fillers(tmp_path) == ("government",)


def test_words_bring_along_what_they_go_with_and_older_runs_go_on(folder: Path) -> None:
    tokens = load(LocalPolicySettings(checkpoint=str(folder / "start"))).tokenizer.from_pretrained(folder / "tokenizer")
    name = "model.language_model.embed_tokens.matrix"
    older = shaped(folder, tokens)
    with torch.no_grad():
        older.model.language_model.embed_tokens.matrix.normal_()
    associate(folder)
    wider = shaped(folder, tokens)
    before, now = older.state_dict(), wider.state_dict()
    assert now[name].shape[1] > before[name].shape[1] == 100
    wider.load_state_dict(fitted(before, wider))
    ids = torch.tensor(tokens.encode(" cider dog"))
    embeddings = [one.eval().model.language_model.embed_tokens(ids) for one in (older, wider)]
    torch.testing.assert_close(*embeddings)
    assert fitted({}, wider) == {}


def test_words_told_of_anew_are_turned_to_those_a_policy_has_learned(folder: Path, tmp_path: Path) -> None:
    associate(folder)
    found = np.load(folder / "associations.npy")
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(found.shape[1],) * 2))[0].astype(np.float32)
    np.save(tmp_path / "earlier.npy", found @ turn)
    associate(folder, tmp_path / "earlier.npy")
    np.testing.assert_allclose(np.load(folder / "associations.npy"), found @ turn, atol=1e-2)
    with pytest.raises(FileNotFoundError, match=r"no words\.npz"):
        associate(tmp_path / "elsewhere", tmp_path / "earlier.npy")


def test_the_mean_of_two_exports_serves_and_of_two_shapes_there_is_none(folder: Path, tmp_path: Path) -> None:
    other = fresh(scribe().tokenizer)
    export(other, scribe().tokenizer, tmp_path / "other", "card")
    mean([folder / "start", tmp_path / "other"], tmp_path / "mean")
    one, two, both = (load_file(tmp_path / name / "model.safetensors") for name in ("start", "other", "mean"))
    name = "model.language_model.norm.weight"
    torch.testing.assert_close(both[name], one[name].lerp(two[name], 0.5))
    assert load(LocalPolicySettings(checkpoint=str(tmp_path / "mean"))).view.max_pixels == VIEW.max_pixels
    assert "mean of those of 2 runs" in (tmp_path / "mean" / "README.md").read_text(encoding="utf-8")
    save_file({"alone": torch.zeros(1)}, tmp_path / "other" / "model.safetensors")
    with pytest.raises(ValueError, match="other weights"):
        mean([folder / "start", tmp_path / "other"], tmp_path / "none")
