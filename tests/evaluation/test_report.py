from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsagent.evaluation.play import Played, best_of
from rsagent.evaluation.report import figures, groups, interval, summary, table
from rsagent.evaluation.samples import UNSEEN

ONE = Played(
    "a", "name", "the cup", small=False, absent=False, stop="finished", turns=2, malformed=0, zooms=0, encodes=1,
    iou=0.5, intersection=50, union=100, iou_by_mask=(0.5,), prompt_tokens=100, cached_tokens=40,
    completion_tokens=20, seconds=1.0,
)  # fmt: skip


def test_giou_is_the_mean_and_ciou_the_quotient_of_sums() -> None:
    found = figures([ONE, replace(ONE, iou=1.0, intersection=900, union=900)])
    assert found["giou"] == pytest.approx(0.75)
    assert found["ciou"] == pytest.approx(0.95)
    assert found["stops"] == {"finished": 2}
    assert found["samples"] == 2


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_interval_holds_the_mean(values: list[float]) -> None:
    low, high = interval(values)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_unseen_sentences_are_a_group_of_their_own() -> None:
    small, strange = replace(ONE, small=True), replace(ONE, kind=UNSEEN, iou=0.0)
    found = groups([ONE, small, strange])
    assert found["all"] == [ONE, small]
    assert found[UNSEEN] == [strange]
    assert found["small targets"] == [small]


def test_absence_is_told_from_presence() -> None:
    absent = replace(ONE, kind="absent", absent=True, stop="no_target", iou=1.0)
    refused = replace(ONE, stop="no_target", iou=0.0)
    accuracy = summary([ONE, absent, refused])["no_target_accuracy"]
    assert accuracy == {"absent_said_absent": 1.0, "present_not_refused": 0.5}


def test_the_oracle_is_never_below_what_was_submitted() -> None:
    assert best_of(replace(ONE, iou=0.9, iou_by_mask=(0.4, 0.6))) == 0.9
    assert best_of(replace(ONE, iou=0.1, iou_by_mask=(0.4, 0.6))) == 0.6
    assert best_of(replace(ONE, iou=0.0, iou_by_mask=())) == 0.0


def test_the_table_has_a_row_a_group_and_a_column_a_run() -> None:
    drawn = table({"one-shot": [ONE], "up to 8 turns": [replace(ONE, iou=0.8)]})
    assert "| requests | samples | one-shot | up to 8 turns |" in drawn
    assert "| name | 1 | 0.500 (0.50–0.50) | 0.800 (0.80–0.80) |" in drawn
