from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rsagent.api.drainrate import DrainRate
from rsagent.api.fairness import FairQueue


def test_lines_take_turns() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "a2", "a3", "b1", "c1"):
        queue.add(item[0], item)
    assert [queue.next() for _ in range(6)] == ["a1", "b1", "c1", "a2", "a3", None]


def test_who_may_not_is_passed_over_and_keeps_its_place() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "b1"):
        queue.add(item[0], item)
    assert queue.next(lambda tenant: tenant != "a") == "b1"
    assert queue.next() == "a1"


def test_a_crowd_gives_way_but_not_to_its_like() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "a2", "a3", "b1"):
        queue.add(item[0], item)
    assert queue.displaced_by("a") is None
    assert queue.displaced_by("b") == "a3"
    assert queue.displaced_by("b") is None, "two and two would be one and three"
    assert queue.displaced_by("c") == "a2"
    assert list(queue) == ["a1", "b1"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 99)), unique=True, max_size=30))
def test_everyone_comes_out_once_and_each_line_in_its_order(items: list[tuple[str, int]]) -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for item in items:
        queue.add(item[0], item)
    assert len(queue) == len(items)
    out = []
    while (first := queue.next()) is not None:
        out.append(first)
    assert len(queue) == 0
    for tenant in "abc":
        assert [item for item in out if item[0] == tenant] == [item for item in items if item[0] == tenant]


def test_the_rate_is_measured_while_every_place_is_taken() -> None:
    drain = DrainRate(places=4)
    assert drain.seconds_for(4) == 1.0, "a guess, before anything was measured"
    drain.left(100.0, stayed=1.0, still_full=False)  # there were free places: it says nothing of what can be done
    drain.filled(200.0)
    for departure in range(1, 9):
        drain.left(200.0 + departure / 2, stayed=2.0, still_full=departure < 8)
    assert drain.seconds_for(10) == 5.0
