from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rsagent.training.policy.associations import WIDTH, Associations, Change, associations, glosses, told
from rsagent.training.policy.lexicon import Lexicon
from rsagent.training.world.knowledge import facts

WORDS = ("the", "barks", "howls", "purrs", "meows", "loudly", "dog")
COMMON = [f"word{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(400)]


def direction(number: int, other: int | None = None) -> NDArray[np.float32]:
    found = np.zeros(100, np.float32)
    found[number] = 1.0
    if other is not None:
        found[other] = 0.6
    return 10 * found / np.linalg.norm(found)


def lexicon() -> Lexicon:
    """Here "howls" is like "barks", "meows" like "purrs"; 400 words before them are like nothing."""
    axes = {"the": direction(0), "barks": direction(1), "howls": direction(1, 2), "purrs": direction(3)}
    axes |= {"meows": direction(3, 4), "loudly": direction(5), "dog": direction(6)}
    rows = [direction(10 + number % 80) for number in range(len(COMMON))]
    words = ("the", *COMMON, *WORDS[1:])
    return Lexicon(words, np.stack([axes["the"], *rows, *(axes[word] for word in WORDS[1:])]), 10)


def known() -> Associations:
    others = [("car", f"the {word}") for word in COMMON[:60]]
    return Associations(lexicon(), [("dog", "the one that barks"), ("cat", "the one that purrs"), *others])


def test_a_word_never_told_speaks_for_what_its_like_was_told_of() -> None:
    names = known().names
    assert known().guess("what howls") == names["dog"]
    assert known().guess("what meows loudly") == names["cat"]


def test_what_everybody_says_speaks_for_nothing() -> None:
    found = known()
    assert not found.table[found.rows["the"]].any()


def test_sentences_are_said_anew_with_words_like_theirs_and_never_name_the_thing() -> None:
    rng, found = random.Random(0), known()
    made = {found.reworded("dog", "the one that barks loudly", rng) for _ in range(40)}
    assert any("howls" in text for text in made)
    assert not any("dog" in text.split() for text in made)
    assert all(found.guess(text) == found.names["dog"] for text in made)


def test_a_sentence_that_speaks_for_another_thing_stays_as_it_is() -> None:
    assert known().reworded("cat", "the one that barks", random.Random(1)) == "the one that barks"


def test_vectors_keep_what_the_table_says() -> None:
    found = known()
    assert found.vectors.shape == (len(found.lexicon.words), min(WIDTH, len(found.names)))
    gram, table = found.vectors @ found.vectors.T, found.table @ found.table.T
    np.testing.assert_allclose(gram / gram.max(), table / table.max(), atol=1e-4)


def test_what_is_held_out_is_never_told(tmp_path: Path) -> None:
    held = {fact.text for all_of in facts("told").values() for fact in all_of if fact.voice == "heldout"}
    assert not held & {text for _, text in told()}
    assert associations(tmp_path) is None


def test_glosses_are_read_where_there_are_some(tmp_path: Path) -> None:
    assert glosses(tmp_path) == []
    (tmp_path / "glosses.tsv").write_text("dog\tan animal\n", encoding="utf-8")
    assert glosses(tmp_path) == [("dog", "an animal")]


def test_a_sentence_may_go_better_with_what_is_not_among_the_choice() -> None:
    found, rng = known(), random.Random(2)
    vague = Change(replaced=0.0, dropped=0.6, like=0.4, nearest=5)
    text = "the barks purrs purrs wordaa"
    clear = {found.reworded("dog", text, rng, vague) for _ in range(40)}
    told_in_view = {found.reworded("dog", text, rng, vague, among=("car",)) for _ in range(40)}
    assert all(found.guess(made) == found.names["dog"] for made in clear - {text})
    assert any(found.guess(made) == found.names["cat"] for made in told_in_view - {text})
    assert all("barks" in made for made in told_in_view)
