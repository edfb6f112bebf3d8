"""What is really exported: by the service (asked of a running one), and by its engines (recorded from real ones).

`engine_metrics.json` has the names and labels of /metrics of vLLM 0.32.0 and of Ray 2.60.0 with Serve's deployment, as
they were on 2026-11-23 after some requests; the test in `test_live.py` with engines asks real ones again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from tests.api.stage import on_stage

RECORDED = Path(__file__).parent / "engine_metrics.json"

Labels = dict[str, dict[str, set[str]]]
"""By the name of a series, by label: the values seen. Without values where only labels are known."""


def read(text: str) -> Labels:
    """Names and labels of what /metrics shows."""
    found: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = found[sample.name]
            for label, value in sample.labels.items():
                labels[label].add(value)
    return {name: dict(labels) for name, labels in found.items()}


async def service() -> Labels:
    """What a real service exports after one request."""
    async with on_stage() as stage:
        await stage.post()
        return read((await stage.client.get("/metrics")).text)


def engines() -> Labels:
    """What the engines export, without values."""
    recorded: dict[str, dict[str, list[str]]] = json.loads(RECORDED.read_text())
    return {name: {label: set() for label in labels} for part in recorded.values() for name, labels in part.items()}
