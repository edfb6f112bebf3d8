from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.training.policy.stages import scribe

from rsagent.training.policy.lexicon import Lexicon, choose, defined, grow, stems, vectors_of, visible, words_of


def lexicon(*words: str) -> Lexicon:
    vectors = np.random.default_rng(1).normal(size=(len(words), 100)).astype(np.float32)
    return Lexicon(words, vectors, len(scribe().tokenizer))


def test_words_are_lower_case_and_without_figures() -> None:
    assert words_of(["What Newton saw, in 1666"]) == {"what", "newton", "saw", "in"}


@pytest.mark.parametrize(("word", "stem"), [("kennels", "kennel"), ("cutting", "cut"), ("berries", "berry")])
def test_a_form_leads_to_its_lemma(word: str, stem: str) -> None:
    assert stem in set(stems(word))


def test_what_can_be_seen_is_what_wordnet_files_as_such(wordnet: Path) -> None:
    assert visible(wordnet) == {"kennel", "cider"}


def test_words_of_training_come_first_then_frequent_then_visible_ones(
    source: Path, wordnet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rsagent.training.policy.lexicon.FREQUENT", 1)
    chosen = choose(source, wordnet, {"cider"}, 3, 1700)
    assert chosen.words == ("the", "cider", "kennels")
    assert np.linalg.norm(chosen.vectors, axis=1) == pytest.approx(10, rel=1e-5)


def test_a_lexicon_is_kept_on_disk(tmp_path: Path) -> None:
    lexicon("cider", "mule").save(tmp_path / "words.npz")
    again = Lexicon.load(tmp_path / "words.npz")
    assert again.words == ("cider", "mule")
    assert again.size == len(scribe().tokenizer)


def test_glosses_do_not_name_what_they_are_about(wordnet: Path) -> None:
    phrases = {"kennel": "kennel", "cider": "apples"}
    assert list(defined(wordnet, phrases)) == [("kennel", "a house for a dog"), ("apples", "juice of apples")]
    assert list(defined(wordnet, {"cider": "juice", "juice": "juice"})) == []


def test_new_words_are_one_token_and_old_text_stays_as_it_was() -> None:
    old, known = scribe().tokenizer, lexicon("cider", "vineyard", "dog")
    grown = grow(old, known, {"cider"}, ["The dog. Vineyard"])
    assert grown.convert_ids_to_tokens(grown.encode("Cider from a cider"))[0] == "Cider"
    assert len(grown.encode(" cider")) == 1 == len(grown.encode(" vineyard"))
    assert len(grown) == len(old) + len(set(grown.get_vocab()) - set(old.get_vocab()))
    for text in (
        "The dog, top left.</think>",
        "system\n",
        '{"name": "zoom", "arguments": {"bbox_2d": [8, 16',
        " Vineyard",
    ):
        assert grown.encode(text) == old.encode(text)
    assert grown.decode(grown.encode("Cider, vineyards!")) == "Cider, vineyards!"


def test_every_form_of_a_word_has_its_vector() -> None:
    known = lexicon("cider", "vineyard")
    grown = grow(scribe().tokenizer, known, {"cider"}, [])
    table = vectors_of(grown, known)
    forms = [grown.encode(text)[0] for text in ("cider", " cider", "Cider")]
    assert all((table[form].numpy() == known.vectors[0]).all() for form in forms)
    assert not table[grown.encode("7")[0]].any()
