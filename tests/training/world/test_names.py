"""The table of names is clean: no phrase means two things unless the world keeps them apart."""

from __future__ import annotations

from collections import Counter

from rsagent.training.world.names import clashes, confusable, entries, holds


def test_there_are_enough_names_and_no_phrase_is_given_twice() -> None:
    phrases = Counter(phrase for entry in entries() for phrase in entry.phrases)
    assert len(entries()) >= 200
    assert [phrase for phrase, times in phrases.items() if times > 1] == []


def test_a_stamp_has_one_name() -> None:
    stamps = Counter(stamp for entry in entries() for stamp in entry.stamps)
    assert max(stamps.values()) == 1


def test_phrases_are_lower_case_words() -> None:
    assert all(p == p.lower().strip() and p for entry in entries() for p in (*entry.phrases, *entry.kinds))


def test_clashes_are_mutual_and_cover_the_known_traps() -> None:
    ids = {entry.name: number for number, entry in enumerate(entries())}
    assert all(i in clashes()[j] for i, others in enumerate(clashes()) for j in others)
    for one, other in (("duck", "rubber duck"), ("bird", "owl"), ("guitar", "electric guitar"), ("fish", "clownfish")):
        assert ids[other] in clashes()[ids[one]]
        assert confusable(entries()[ids[one]], entries()[ids[other]])


def test_holds_looks_at_whole_words() -> None:
    assert holds("double-decker bus", "bus")
    assert holds("the fire truck", "fire truck")
    assert not holds("bushel", "bus")
    assert not holds("truck fire", "fire truck")
