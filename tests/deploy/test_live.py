"""Panels asked of a real Prometheus while a real service works; with engines, all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from loadtests import dashboards, prometheus
from loadtests.dashboards import Asked, Profile

from rsagent.engines.command import interpreter
from rsagent.engines.settings import VLLMSettings
from rsagent.errors import NotConfigured
from rsagent.segmenter.serve import cluster

pytestmark = pytest.mark.skipif(not prometheus.installed(), reason="there is no Prometheus: apt-get install prometheus")


def last(profile: Profile, folder: Path) -> list[Asked]:
    """The answers after as long as it takes for each to have data, two minutes at most."""
    *_, (asked, _) = dashboards.measured(profile, 10, folder)
    return asked


@pytest.mark.slow
def test_every_panel_returns_data(tmp_path: Path) -> None:
    asked = last("embedded", tmp_path)
    assert [(one.board, one.panel, one.expr) for one in asked if not one.has_data] == []
    assert len({(one.board, one.panel) for one in asked}) > 40


@pytest.mark.engines
def test_every_panel_returns_data_over_vllm_and_ray(tmp_path: Path) -> None:
    if not cluster.installed():
        pytest.skip("Ray is in the engines extra")
    try:
        interpreter(VLLMSettings())
    except NotConfigured as error:
        pytest.skip(str(error))
    asked = last("engines", tmp_path)
    assert [(one.board, one.panel, one.expr) for one in asked if not one.has_data] == []
    assert len({one.board for one in asked}) == 6
