"""Dashboards and rules: fresh, readable, and about metrics that exist. `test_live.py` asks them of a Prometheus."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml  # type: ignore[import-untyped]
from deploy.grafana.__main__ import FOLDER, stale
from deploy.grafana.boards import BOARDS
from loadtests.dashboards import queries
from loadtests.prometheus import configuration
from tests.deploy import exported
from tests.deploy.exported import Labels

from rsagent.errors import RSAgentError

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool: apt-get install prometheus")

GROUPS: list[dict[str, Any]] = [
    group for path in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(path.read_text())["groups"]
]
ALL = [rule for group in GROUPS for rule in group["rules"]]
RECORDS = [rule for rule in ALL if "record" in rule]
ALERTS = [rule for rule in ALL if "alert" in rule]
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}

EXPRESSIONS = [
    *((uid, title, expr) for uid, board in DASHBOARDS.items() for title, expr in queries(board)),
    *(("rules", rule.get("record") or rule["alert"], rule["expr"]) for rule in ALL),
]


def selectors(expr: str) -> Iterator[promql_parser.VectorSelector]:
    """Every series that an expression asks for."""
    found: list[promql_parser.VectorSelector] = []

    def look(part: Any) -> bool:
        if isinstance(part, promql_parser.VectorSelector):
            found.append(part)
        return True

    promql_parser.walk(promql_parser.parse(expr), look)
    return iter(found)


@pytest.fixture
async def series() -> Labels:
    """All that Prometheus can know, by name."""
    recorded: Labels = {rule["record"]: {} for rule in RECORDS}
    told: Labels = {"up": {"job": {"gateway", "policy", "segmenter", "prometheus"}}}
    return {**await exported.service(), **exported.engines(), **recorded, **told}


def test_the_json_is_what_the_code_says() -> None:
    assert stale() == [], "run `python -m deploy.grafana`"


def test_every_dashboard_can_be_provisioned() -> None:
    assert [board.uid for board in BOARDS] == [name for board in BOARDS for name in DASHBOARDS if name == board.uid]
    for uid, board in DASHBOARDS.items():
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids)
        assert board["uid"] == uid
        for panel in board["panels"]:
            if panel["type"] != "row":
                assert panel["description"], panel["title"]
                assert panel["fieldConfig"]["defaults"]["unit"]
                assert panel["datasource"]["uid"] == "${datasource}"
                where = panel["gridPos"]
                assert where["x"] + where["w"] <= 24


async def test_every_panel_and_rule_is_about_series_that_exist(series: Labels) -> None:
    for where, title, expr in EXPRESSIONS:
        for selector in selectors(expr):
            assert selector.name in series, f"{where}, {title}: nobody exports {selector.name}"


async def test_every_label_that_is_asked_for_exists(series: Labels) -> None:
    for where, title, expr in EXPRESSIONS:
        for selector in selectors(expr):
            labels = series[str(selector.name)]
            for matcher in selector.matchers.matchers:
                known = {*labels, "job", "instance"}
                assert matcher.name in known, f"{where}, {title}: {selector.name} has no label {matcher.name}"
                if values := labels.get(matcher.name):
                    assert any(re.fullmatch(matcher.value, value) for value in values), f"{where}, {title}: {matcher}"


def test_the_contract_of_the_design_is_shown() -> None:
    shown = {str(selector.name) for _, _, expr in EXPRESSIONS for selector in selectors(expr)}
    for name in (
        "requests_total",
        "request_seconds_bucket",
        "time_to_first_mask_seconds_bucket",
        "turns_bucket",
        "turn_seconds_bucket",
        "tool_calls_total",
        "malformed_total",
        "stop_total",
        "inflight",
        "queue_depth",
        "rejected_total",
        "cancelled_total",
        "policy_tokens_total",
        "embedding_cache_total",
        "segmenter_batch_size_bucket",
        "image_bytes_sent_total",
    ):
        assert f"rsagent_{name}" in shown


def test_no_average_over_a_lifetime() -> None:
    for where, title, expr in EXPRESSIONS:
        for counter in re.findall(r"\b(?:rsagent_|vllm:)\w+_(?:total|sum|count|bucket)\b[^)]*", expr):
            assert "[" in counter, f"{where}, {title}: {counter} without a rate"


def codes(error: type[RSAgentError]) -> Iterator[type[RSAgentError]]:
    yield error
    for derived in error.__subclasses__():
        yield from codes(derived)


def test_failures_are_the_errors_that_are_not_the_clients() -> None:
    (rule,) = [rule for rule in RECORDS if rule["record"] == "rsagent:request_errors:ratio5m"]
    (pattern,) = re.findall(r'outcome=~"([^"]+)"', rule["expr"])
    # Those of the client, of training and the like are told to nobody by HTTP.
    ours = {error.code for error in codes(RSAgentError) if error.status >= 500 and error.__module__ == "rsagent.errors"}
    assert set(pattern.split("|")) == ours - {"shutting_down"}


@pytest.mark.parametrize("rule", ALERTS, ids=[rule["alert"] for rule in ALERTS])
def test_every_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    told = rule["annotations"]
    assert {"summary", "description", "advice", "runbook"} == told.keys()
    assert len(told["advice"]) > 40
    assert rule["labels"]["severity"] in ("critical", "warning")
    page, _, anchor = told["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    (healthy, *ill) = yaml.safe_load((Path(__file__).parent / "alerts.test.yml").read_text())["tests"]
    fired = {
        label
        for test in ill
        for asked in test["promql_expr_test"]
        for sample in asked["exp_samples"]
        for label in re.findall(r'alertname="(\w+)"', sample["labels"])
    }
    quiet = {check["alertname"] for check in healthy["alert_rule_test"] if not check.get("exp_alerts")}
    assert fired == quiet == {rule["alert"] for rule in ALERTS}


@needs_promtool
def test_the_rules_pass_their_tests() -> None:
    _promtool("check", "rules", *map(str, sorted(RULES.glob("*.yml"))))
    _promtool("test", "rules", str(Path(__file__).parent / "alerts.test.yml"))


@needs_promtool
def test_the_configuration_is_accepted() -> None:
    _promtool("check", "config", str(RULES.parent / "prometheus.yml"))


def test_a_measurement_uses_the_shipped_jobs() -> None:
    made = configuration({"gateway": "127.0.0.1:1", "segmenter": "127.0.0.1:2"})
    jobs = {job["job_name"]: job for job in made["scrape_configs"]}
    assert list(jobs) == ["gateway", "segmenter"]
    assert jobs["segmenter"]["metric_relabel_configs"]
    assert all(Path(pattern).parent == RULES for pattern in made["rule_files"])


def test_grafana_finds_prometheus_and_the_dashboards() -> None:
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "rsagent.yml").read_text())["providers"]
    scraped = yaml.safe_load((RULES.parent / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == scraped
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"


def _promtool(*words: str) -> None:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
