"""The table's rows and bars, the JSON, the plots."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from loadtests.bench import costs, plots
from loadtests.bench.contenders import Played
from loadtests.bench.measure import CROWD, LARGE, LIMIT, SERIAL, SERVICE, Growth, Orchestrator, Throughput
from loadtests.bench.plan import Sam
from loadtests.bench.replicas import Killed, Replicated
from loadtests.bench.report import Results, document, markdown, verdicts
from loadtests.capacity import Costs, Fleet
from loadtests.verdict import table
from tests.loadtests.bench.staging import played

COSTS = Costs(prefill=0.0002, generate=0.0005, encode=0.05, decode=0.01, turn=0.004, request=0.0)


def results(**changes: object) -> Results:
    rounds = {
        SERVICE: [played(5.0), played(5.2)],
        LIMIT: [played(5.2), played(5.3)],
        CROWD: [played(2.0), played(2.1)],
        SERIAL: [played(1.0), played(1.0)],
    }
    whole = Results(
        "embedded",
        {"threads": "2"},
        throughput=Throughput(rounds),
        growth=[
            Growth(SERVICE, {2: [1.0, 1.0], 4: [1.5, 1.5], 8: [2.2, 2.4]}),
            Growth(LIMIT, {2: [1.0, 1.0], 4: [1.5, 1.5], 8: [2.1, 2.3]}),
            Growth(LARGE, {2: [9.0], 8: [10.0]}),
        ],
        large=Throughput({SERVICE: [played(0.4)], LIMIT: [played(0.41)], SERIAL: [played(0.1)]}),
        sam=Sam("vit_b", 1024),
        orchestrator=Orchestrator([4.0, 5.0], [0.01] * 100, 64),
        replicas=Replicated({1: [10.0, 10.0], 2: [17.0, 19.0]}, Killed(24, (), 3, 2.0, 4.0)),
        capacity=costs.measurement("a core", COSTS, Fleet(engines=1, replicas=1, cores=2.0), rounds[SERVICE]),
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def row(found: Results, words: str) -> tuple[str, bool]:
    [one] = [verdict for verdict in verdicts(found) if words in verdict.what]
    return one.value, one.holds


def test_every_row_is_there_and_holds() -> None:
    rows = verdicts(results())
    assert len(rows) == 15
    assert all(verdict.holds for verdict in rows)
    assert row(results(), "baseline (a)") == ("5.10× (5.00 to 5.20)", True)
    assert row(results(), "2, nano pair") == ("2.30× (2.20 to 2.40); the engines alone 2.20×", True)
    assert row(results(), "2, vit_b segmenter") == ("1.11× (1.11 to 1.11)", True)
    told = "0 of 24 failed, 3 calls made again; slowest 4.0 s, usually 2.0 s"
    assert row(results(), "replica killed") == (told, True)
    assert row(results(), "1 → 2 replicas") == ("1.80× (1.70 to 1.90)", True)
    assert row(results(), "capacity model")[1]
    assert row(results(), "prefilled") == ("1.000", True)
    assert table(rows).row_count == 15


def test_engines_of_their_own_show_what_the_service_takes_with_its_clients() -> None:
    found = results(profile="engines")
    assert row(found, "clients of vLLM and Ray") == ("62.50 ms (62.50 to 62.50)", True)  # a second of 16 turns
    assert row(found, "picture sent to replicas") == ("0.000×", True)
    again = replace(played(1.0), account=replace(played(1.0).account, pictures_sent=5))
    rounds = {name: [again] for name in (SERVICE, LIMIT, CROWD, SERIAL)}
    assert row(replace(found, throughput=Throughput(rounds)), "picture sent to replicas") == ("1.250×", False)


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("baseline (a)", {"throughput": Throughput({n: [played(1.0)] for n in (SERVICE, LIMIT, CROWD, SERIAL)})}),
        ("8 turns over 2, nano", {"growth": [Growth(SERVICE, {2: [1.0], 4: [2.0], 8: [3.5]})]}),
        ("vit_b segmenter at", {"large": Throughput({SERVICE: [played(0.3)], SERIAL: [played(0.1)]})}),
        ("orchestrator CPU", {"orchestrator": Orchestrator([16.0], [0.01], 64)}),
        ("replica killed", {"replicas": Replicated({1: [1.0], 2: [2.0]}, Killed(9, ("gone",), 0, 1.0, 1.0))}),
        ("first SSE byte", {"orchestrator": Orchestrator([1.0], [0.2], 64)}),
    ],
)
def test_a_missed_bar_fails(words: str, changes: dict[str, object]) -> None:
    assert not row(results(**changes), words)[1]


def test_a_second_encode_a_second_upload_and_a_second_prefill_are_seen() -> None:
    good = played(5.0)
    account = replace(good.account, encodes=5, images_sent=17, cached_tokens=0)
    rounds: dict[str, list[Played]] = {name: [good] for name in (LIMIT, CROWD, SERIAL)}
    found = results(throughput=Throughput({SERVICE: [replace(good, account=account)], **rounds}))
    for words in ("image encodes", "handed each view", "prefilled", "embedding hits"):
        assert not row(found, words)[1], words


def test_parts_that_were_not_measured_have_no_rows() -> None:
    alone = Results("embedded", {}, orchestrator=Orchestrator([4.0], [0.01], 64))
    assert len(verdicts(alone)) == 2
    assert document(alone)["throughput"] == {}


def test_the_table_is_markdown() -> None:
    lines = markdown(verdicts(results(orchestrator=Orchestrator([16.0], [0.01], 64)))).splitlines()
    assert lines[:2] == ["| what | measured | bar | |", "|---|---|---|---|"]
    assert len(lines) == 17
    assert sum(line.endswith("| holds |") for line in lines) == 14
    assert sum(line.endswith("| **missed** |") for line in lines) == 1


def test_the_document_is_json_and_can_be_drawn(tmp_path: Path) -> None:
    found = json.loads(json.dumps(document(results())))
    service = found["throughput"][SERVICE]
    assert [one["episodes_per_second"] for one in service] == pytest.approx([5.0, 5.2])
    assert service[0]["latency_seconds"]["first_mask"]["p50"] == pytest.approx(0.2)
    assert found["large_segmenter"]["side"] == 1024
    drawn = plots.draw(found, tmp_path)
    assert [path.name for path in drawn] == ["throughput.png", "throughput-large.png", "latency.png", "growth.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    assert plots.draw(document(Results("embedded", {})), tmp_path) == []
