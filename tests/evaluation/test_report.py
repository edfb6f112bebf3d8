from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluation.rows import ROW

from rsagent.evaluation import Report, overall, table
from rsagent.evaluation.figures import by_turn, figures, gain, interval


def test_giou_is_the_mean_and_ciou_the_quotient_of_sums() -> None:
    found = figures([ROW, replace(ROW, iou=1.0, intersection=900, union=900)])
    assert found.giou == pytest.approx(0.75)
    assert found.ciou == pytest.approx(0.95)
    assert found.ciou_95[0] <= found.ciou <= found.ciou_95[1]
    assert found.stops == {"finished": 2}
    assert (found.scored, found.total) == (2, 2)


def test_what_failed_counts_as_nothing_and_is_told_apart() -> None:
    failed = replace(ROW, error="timeout: too late", iou=0.0, intersection=0, iou_by_turn=(), turns=0, seconds=0.0)
    found = figures([ROW, failed])
    assert (found.scored, found.total, found.giou, found.ciou) == (1, 2, 0.25, 0.25)
    assert found.errors == {"timeout": 1}
    assert found.seconds == 1.0
    assert found.present_not_refused == 0.5
    assert "| name | 1/2 |" in Report((ROW, failed)).markdown


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_interval_holds_between_the_extremes(values: list[float]) -> None:
    low, high = interval(values)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_an_episode_that_has_ended_keeps_its_answer() -> None:
    long = replace(ROW, iou=0.9, iou_by_turn=(0.0, 0.4, 0.9))
    assert by_turn([ROW, long]) == pytest.approx((0.25, 0.45, 0.7))


def test_what_stands_aside_is_a_group_of_its_own() -> None:
    small, strange = replace(ROW, small=True), replace(ROW, kind="strange", aside=True, iou=0.0)
    found = Report((ROW, small, strange)).groups
    assert found["all"] == (ROW, small)
    assert found["strange"] == (strange,)
    assert found["small targets"] == (small,)
    assert list(found) == ["all", "name", "strange", "small targets"]


def test_tags_are_groups_too() -> None:
    found = Report((ROW, replace(ROW, tags=("touching",)))).groups
    assert len(found["touching"]) == 1


def test_absence_is_told_from_presence() -> None:
    absent = replace(ROW, kind="absent", absent=True, stop="no_target", iou=1.0)
    refused = replace(ROW, stop="no_target", iou=0.0)
    found = Report((ROW, absent, refused)).all
    assert (found.absent_said_absent, found.present_not_refused) == (1.0, 0.5)
    assert Report((ROW,)).all.absent_said_absent is None


def test_the_oracle_is_never_below_what_was_submitted() -> None:
    assert replace(ROW, iou=0.9, iou_by_mask=(0.4, 0.6)).oracle == 0.9
    assert replace(ROW, iou=0.1, iou_by_mask=(0.4, 0.6)).oracle == 0.6
    assert replace(ROW, iou=0.0, iou_by_mask=()).oracle == 0.0


def test_gains_are_paired_sample_by_sample() -> None:
    before = [replace(ROW, id=str(number), iou=number / 10) for number in range(8)]
    after = [replace(row, iou=row.iou + 0.1) for row in before]
    found = gain(after, before)
    assert found is not None
    assert found.gain == pytest.approx(0.1)
    assert found.gain_95 == pytest.approx((0.1, 0.1))
    assert gain(after, [replace(ROW, id="other")]) is None


def test_the_table_has_a_row_a_group_and_a_column_a_run() -> None:
    drawn = table({"one-shot": Report((ROW,)), "up to 8 turns": Report((replace(ROW, iou=0.8),))})
    assert "| requests | samples | one-shot | up to 8 turns | gain of up to 8 turns |" in drawn
    assert "| name | 1 | 0.500 (0.50–0.50) | 0.800 (0.80–0.80) | +0.300 (+0.30…+0.30) |" in drawn


def test_how_it_went_is_a_column_a_run() -> None:
    drawn = overall({"one-shot": Report((ROW,)), "more": Report((replace(ROW, turns=3, error="timeout: late"),))})
    assert "| all requests | one-shot | more |" in drawn
    assert "| scored / total | 1 / 1 | 0 / 1 |" in drawn
    assert "| turns | 2.00 | – |" in drawn
    assert "| errors | – | timeout 1 |" in drawn


def test_reports_are_plain_json() -> None:
    told = json.loads(json.dumps(Report((ROW,)).as_json()))
    assert told["all"]["giou"] == 0.5
    assert told["name"]["total"] == 1
