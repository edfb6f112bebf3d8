"""Our own world as samples: the requests behind the published figures stay what they are."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from tests.training.material import or_skip

from rsagent.evaluation.datasets import DatasetError, collages, unseen
from rsagent.training.world.situations import Situation

PUBLISHED = "ab3b809269fcf80a9a7d93226d944b7855910660ed54a99206cde6088b683d92"


@pytest.fixture(scope="module", autouse=True)
def _material() -> None:
    or_skip(lambda: collages(0))


def test_the_same_seed_gives_the_published_requests() -> None:
    told = "\n".join(f"{one.id} {one.kind} {one.query}" for one in [*collages(36, wording="train"), *unseen(6)])
    assert hashlib.sha256(told.encode()).hexdigest() == PUBLISHED


def test_kinds_come_in_equal_shares_and_load_what_they_mean() -> None:
    samples = collages(12)
    assert len({one.id for one in samples}) == 12
    assert {one.kind for one in samples} == {"name", "attribute", "relation", "reasoning", "several", "absent"}
    for one in samples[:6]:
        loaded = one.load()
        assert (len(loaded.targets) == 0) == (one.kind == "absent")
        assert (len(loaded.targets) > 1) == (one.kind == "several")
        assert np.array_equal(loaded.image, one.load().image)


def test_chosen_kinds_only() -> None:
    assert [one.kind for one in collages(3, kinds=("absent",))] == ["absent"] * 3
    with pytest.raises(DatasetError, match="no requests of the kind 'cups': choose of name, "):
        collages(3, kinds=("cups",))


@pytest.mark.parametrize("situation", ["small", "touching"])
def test_a_situation_is_what_is_asked_about(situation: Situation) -> None:
    for one in collages(2, kinds=("name", "absent"), situation=situation):
        loaded = one.load()
        assert len(loaded.targets) == (one.kind == "name")
        if situation == "small" and loaded.targets:
            assert loaded.truth.mean() < 0.02


def test_unseen_facts_stand_aside() -> None:
    (one,) = unseen(1)
    assert one.aside
    assert one.kind == "reasoning, unseen sentence"
