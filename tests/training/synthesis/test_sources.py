from __future__ import annotations

import random
from collections import Counter

import pytest
from tests.training.material import or_skip

from rsagent.training.synthesis import sources
from rsagent.training.synthesis.sources import WorldSource, pick
from rsagent.training.world.combinations import held_out
from rsagent.training.world.requests import Request
from rsagent.training.world.stock import find


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SCENES", 3)
    monkeypatch.setattr(sources, "SIZES", ((160, 160),))
    or_skip(lambda: find("backgrounds/mate/nature/Dune.jpg"))


@pytest.mark.usefixtures("few")
def test_a_shard_is_the_same_each_time_and_another_one_is_another() -> None:
    source = WorldSource(kinds=("name", "knowledge"))
    first, again, other = source.shard(2), source.shard(2), source.shard(3)
    assert [one.requests for one in first] == [one.requests for one in again]
    assert [one.name for one in first] != [one.name for one in other]
    assert all((one.scene.image == two.scene.image).all() for one, two in zip(first, again, strict=True))
    assert {request.kind for one in first for request in one.requests} <= {"name", "knowledge"}


@pytest.mark.usefixtures("few")
def test_names_that_are_kept_apart_do_not_meet() -> None:
    for occasion in WorldSource().shard(0):
        names = {placed.name for placed in occasion.scene.objects}
        assert not any(held_out(a, b) for a in names for b in names)


def test_a_kind_is_as_likely_as_its_weight_however_much_there_is_of_it() -> None:
    found = [Request(f"n{i}", "name", (0,), "dog") for i in range(40)]
    found += [Request("r", "reasoning", (0,), "dog"), Request("c", "except", (0,), "dog")]
    drawn = Counter(pick(found, 1, random.Random(seed))[0].kind for seed in range(300))
    assert 0.35 < drawn["name"] / 300 < 0.75
    assert drawn["reasoning"] > drawn["except"]


def test_nothing_is_picked_twice() -> None:
    found = [Request(f"n{i}", "name", (0,), "dog") for i in range(5)]
    assert len(set(pick(found, 9, random.Random(0)))) == 5
