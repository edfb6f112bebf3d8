"""The page of a report: it needs nothing but itself, and nothing that a policy wrote becomes markup."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.api.stage import FINISH, NO_TARGET, call
from tests.evaluation.rows import LEFT, sample

from rsagent.agent.runner import Runner
from rsagent.agent.state import Budget
from rsagent.evaluation import Report, Sample, evaluate, playing
from rsagent.evaluation.chart import chart
from rsagent.evaluation.drawing import WIDTH, View
from rsagent.evaluation.files import document, markdown
from rsagent.evaluation.journal import Journal
from rsagent.evaluation.page import choose, page
from rsagent.policy.fake import ScriptedPolicy
from rsagent.segmenter.fake import FakeSegmenter

ZOOM = call("zoom", bbox_2d=[0, 0, 500, 500])
POINTS = call("segment", points=[[300, 300, 1], [900, 900, 0]], mask_id=1)
NASTY = "<think><script>alert(1)</script></think>no call"
CONFIG = {"runs": {"more": {"zooms": None}}, "samples": 3}


class Checker(HTMLParser):
    """Every tag that is opened is closed, and nothing is fetched."""

    VOID = frozenset({"meta", "img", "circle", "path", "polyline"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        for name in ("src", "href"):
            value = known.get(name)
            assert value is None or value.startswith("data:image/jpeg;base64,")
            self.images += [value] if value else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in self.VOID or self.open.pop() == tag


@pytest.fixture
async def played(tmp_path: Path) -> tuple[str, dict[str, Report]]:
    samples = [sample("one"), sample("two", absent=True), sample("three", ignore=np.eye(64, dtype=np.bool_))]
    policy = ScriptedPolicy([ZOOM, LEFT, POINTS, NASTY, FINISH])
    with Journal.open(tmp_path / "rows.jsonl", CONFIG) as journal:
        answer = playing(Runner(policy, FakeSegmenter()), Budget(turns=8))
        reports = {"more": await evaluate(samples, answer, journal=journal, run="more")}
        return page(CONFIG, reports, samples, journal), reports


async def test_every_turn_is_drawn_and_nothing_is_fetched(played: tuple[str, dict[str, Report]]) -> None:
    checker = Checker()
    checker.feed(played[0])
    assert checker.open == []
    assert len(checker.images) == 3 * (1 + 3 + 1)  # meant, turns with a picture, submitted
    for url in checker.images:
        pixels = cv2.imdecode(np.frombuffer(base64.b64decode(url.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        assert pixels.shape[1] == WIDTH


async def test_what_a_policy_wrote_is_text(played: tuple[str, dict[str, Report]]) -> None:
    assert "alert(1)" in played[0]
    assert "<script>alert" not in played[0]
    assert re.search(r"malformed \(no_call\)", played[0])


async def test_reports_say_what_they_were_made_with(played: tuple[str, dict[str, Report]]) -> None:
    told = markdown(CONFIG, played[1])
    assert "| scored / total | 3 / 3 |" in told
    assert "- samples: 3" in told
    fields = document(CONFIG, played[1] | {"again": played[1]["more"]})
    assert fields["gains"]["over"] == "more"
    assert fields["gains"]["runs"]["again"]["all"]["gain"] == 0.0


async def test_an_absent_target_and_its_refusal(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "rows.jsonl", CONFIG) as journal:
        answer = playing(Runner(ScriptedPolicy([NO_TARGET]), FakeSegmenter()))
        reports = {"more": await evaluate([sample(absent=True)], answer, journal=journal, run="more")}
        told = page(CONFIG, reports, [sample(absent=True)], journal)
    assert "meant: nothing" in told
    assert "report no target: nothing of the kind" in told


def test_the_kinds_come_in_equal_shares() -> None:
    load = sample().load
    samples = [Sample(str(number), "", "many" if number < 90 else "few", load) for number in range(100)]
    chosen = choose(samples, 10)
    assert [one.kind for one in chosen] == ["many"] * 5 + ["few"] * 5
    assert len({one.id for one in chosen}) == 10
    assert choose(samples[:3], 10) == samples[:3]


def test_a_view_brings_a_part_to_one_width() -> None:
    image = np.zeros((100, 200, 3), dtype=np.uint8)
    view = View.of(image, (50.0, 20.0, 100.0, 70.0))
    assert view.pixels().shape == (WIDTH, WIDTH, 3)
    assert view.point(75, 45) == (WIDTH // 2, WIDTH // 2)
    assert View.of(image, (199.0, 99.0, 200.0, 100.0)).box == (192, 92, 200, 100)
    mask = np.zeros((100, 200), dtype=np.bool_)
    mask[20:45, 50:100] = True
    assert abs(int(view.mask(mask).sum()) - WIDTH * WIDTH // 2) <= WIDTH


def test_a_chart_needs_two_turns() -> None:
    assert chart({"one-shot": (0.5,)}) == ""
    drawn = chart({"one-shot": (0.5,), "more & more": (0.5, 0.7, 0.8)})
    assert drawn.count("<circle") == 4
    assert "more &amp; more" in drawn
