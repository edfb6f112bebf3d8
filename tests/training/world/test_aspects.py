"""The facts that hold of several names are about names there are, and the split is the documented one."""

from __future__ import annotations

import hashlib
from collections import Counter

from rsagent.training.world.aspects import THING, aspects, of_all, of_one
from rsagent.training.world.knowledge import CATEGORIES, facts
from rsagent.training.world.names import entries, holds

NAMES = {entry.name: entry for entry in entries()}


def test_every_fact_is_about_names_of_the_table_and_sure_of_them() -> None:
    for fact in aspects():
        assert fact.true_of
        assert fact.true_of | fact.arguable <= set(NAMES), fact.sayings
        assert not fact.true_of & fact.arguable, fact.sayings
        assert fact.noun in {THING, "person", *(word for word, _ in CATEGORIES.values())}


def test_no_fact_names_what_it_is_true_of() -> None:
    told = [(s, phrase) for f in aspects() for s in f.sayings for n in f.true_of for phrase in NAMES[n].phrases]
    assert [pair for pair in told if holds(*pair)] == []


def test_all_six_aspects_and_most_names_are_covered_with_the_sentences_of_one_name() -> None:
    assert {fact.aspect for fact in aspects()} == {"use", "habitat", "part", "maker", "material", "opposite"}
    about = Counter({name: len(known) for name, known in facts().items()})
    about.update(name for fact in aspects() for name in fact.true_of)
    assert sum(times >= 4 for times in about.values()) >= 200


def test_no_saying_is_told_twice() -> None:
    said = Counter((fact.noun, saying) for fact in aspects() for saying in fact.sayings)
    assert [pair for pair, times in said.items() if times > 1] == []


def test_a_fifth_is_held_out_by_the_hash_of_the_first_wording() -> None:
    held = [fact for fact in aspects() if fact.voice == "heldout"]
    for fact in aspects():
        digest = hashlib.sha256(f"{fact.noun}|{fact.sayings[0]}".encode()).digest()
        assert (fact.voice == "heldout") == (digest[0] < 51)
    assert 0.12 < len(held) / len(aspects()) < 0.3


def test_no_held_out_wording_is_heard_in_training() -> None:
    heard = {s for f in aspects() if f.voice == "train" for s in f.sayings}
    assert not heard & {s for f in aspects() if f.voice == "heldout" for s in f.sayings}


def test_phrases_hold_the_saying() -> None:
    for fact in aspects():
        for pick in range(6):
            assert fact.sayings[0] in of_one(fact, fact.sayings[0], pick)
            assert fact.sayings[0] in of_all(fact, fact.sayings[0], pick)
