"""What the settings make of profiles and addresses, and of the deployment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rsagent import settings
from rsagent.errors import NotConfigured
from rsagent.segmenter.serve import cluster, environment
from rsagent.service import load_segmenter, segmenter_started
from rsagent.settings import SegmenterSettings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("RSAGENT_", "RAY_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_an_address_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.load().segmenter.kind == "local"
    monkeypatch.setenv("RSAGENT_SEGMENTER__RAY__REPLICAS", "3")
    assert settings.load().segmenter.kind == "local"
    monkeypatch.setenv("RSAGENT_SEGMENTER__RAY__ADDRESS", "head:6379")
    assert settings.load().segmenter.kind == "ray"
    monkeypatch.setenv("RSAGENT_SEGMENTER__KIND", "local")
    assert settings.load().segmenter.kind == "local"


def test_profiles() -> None:
    engines = settings.load(profile="engines").segmenter
    assert (engines.kind, engines.ray.address) == ("ray", None)
    cluster = settings.load(profile="cluster", segmenter={"ray": {"replicas": 2}}).segmenter
    assert (cluster.kind, cluster.ray.address, cluster.ray.replicas) == ("ray", "auto", 2)
    named = settings.load(profile="cluster", segmenter={"ray": {"address": "head:6379"}}).segmenter
    assert (named.kind, named.ray.address) == ("ray", "head:6379")
    assert settings.load(profile="cluster", segmenter={"kind": "local"}).segmenter.kind == "local"


def test_fewer_replicas_at_most_than_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSAGENT_SEGMENTER__RAY__REPLICAS", "3")
    monkeypatch.setenv("RSAGENT_SEGMENTER__RAY__MAX_REPLICAS", "2")
    with pytest.raises(NotConfigured, match="max_replicas"):
        settings.load()


async def test_what_is_not_to_be_started_is_left_as_it_is() -> None:
    for given in (SegmenterSettings(), SegmenterSettings(kind="ray", ray={"address": "head:6379"})):
        async with segmenter_started(given) as found:
            assert found is given


async def test_without_ray_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "installed", lambda: False)
    monkeypatch.setattr(cluster, "_connected", lambda: False)  # whatever tests before this one left
    with pytest.raises(NotConfigured, match=r"rsagent\[engines\]"):
        await segmenter_started(SegmenterSettings(kind="ray")).__aenter__()
    with pytest.raises(NotConfigured, match=r"rsagent\[engines\]"):
        load_segmenter(SegmenterSettings(kind="ray"))


@pytest.mark.skipif(not cluster.installed(), reason="Ray is in the engines extra")
def test_without_an_address_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_connected", lambda: False)
    with pytest.raises(NotConfigured, match="RSAGENT_SEGMENTER__RAY__ADDRESS"):
        load_segmenter(SegmenterSettings(kind="ray"))


def test_what_the_user_set_for_ray_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "environ", {"RAY_USAGE_STATS_ENABLED": "1", "RAY_AUTH_TOKEN_PATH": "/theirs"})
    environment.prepare(None)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == "/theirs"
    environment.prepare(tmp_path / "token")
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "token")


def test_of_a_report_the_line_that_says_most() -> None:
    report = "Traceback\n  File x\nrsagent.errors.CheckpointError: no weights at w.pth\nray.exceptions: died"
    assert cluster._reason(report).endswith("no weights at w.pth")
    assert cluster._reason("first\nlast\n") == "last"
    assert cluster._reason("") == "no reason given"


def test_a_refused_token_is_found_behind_a_failed_connection() -> None:
    failed = ConnectionError("failed")
    assert not cluster._is_about_the_token(failed)
    failed.__context__ = RuntimeError("… AuthenticationError: token is missing …")
    assert cluster._is_about_the_token(failed)
