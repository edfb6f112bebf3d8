from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from rsagent import settings
from rsagent.errors import NotConfigured
from rsagent.settings import Settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("RSAGENT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_nothing_needs_to_be_set() -> None:
    loaded = settings.load()
    assert (loaded.server.host, loaded.server.port) == ("127.0.0.1", 8080)
    assert loaded.policy.kind == "local"
    assert loaded.limits.image.max_bytes == 20_000_000


def test_variables_are_nested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSAGENT_SERVER__PORT", "9000")
    monkeypatch.setenv("RSAGENT_LIMITS__IMAGE__MAX_PIXELS", "1000")
    loaded = settings.load()
    assert (loaded.server.port, loaded.server.host) == (9000, "127.0.0.1")
    assert loaded.limits.image.max_pixels == 1000


def test_a_file_is_read_and_variables_go_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text('[server]\nport = 1\nhost = "0.0.0.0"\n')
    monkeypatch.setenv("RSAGENT_CONFIG", "other.toml")
    monkeypatch.setenv("RSAGENT_SERVER__PORT", "2")
    assert (settings.load().server.port, settings.load().server.host) == (2, "0.0.0.0")
    assert settings.load(server={"port": 3}).server.port == 3


def test_the_file_in_the_working_directory_needs_no_name(tmp_path: Path) -> None:
    (tmp_path / "rsagent.toml").write_text("[limits]\nturns = 3\n")
    assert settings.load().limits.turns == 3


def test_a_policy_url_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSAGENT_POLICY__OPENAI__BASE_URL", "http://engine:8001/v1")
    assert settings.load().policy.kind == "openai"
    monkeypatch.setenv("RSAGENT_POLICY__KIND", "local")
    assert settings.load().policy.kind == "local"


def test_keys_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSAGENT_POLICY__OPENAI__API_KEY", "hush")
    loaded = settings.load()
    assert "hush" not in repr(loaded)
    assert "hush" not in loaded.model_dump_json()


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("RSAGENT_SERVER__PORT", "http", "RSAGENT_SERVER__PORT"),
        ("RSAGENT_SERVER__PORT", "70000", "RSAGENT_SERVER__PORT"),
        ("RSAGENT_SERVER__PROT", "80", "RSAGENT_SERVER__PROT"),
        ("RSAGENT_SREVER__PORT", "80", "did you mean RSAGENT_SERVER__"),
        ("RSAGENT_POLICY__KIND", "magic", "RSAGENT_POLICY__KIND"),
        ("RSAGENT_LIMITS__IMAGE__MAX_PIXELS", "900000000", "RSAGENT_LIMITS__IMAGE__MAX_PIXELS"),
        ("RSAGENT_LIMITS__TURNS", "99", "turns must not be above max_turns"),
        ("RSAGENT_LIMITS__MAX_DEADLINE", "1", "deadline must not be above max_deadline"),
        ("RSAGENT_CONFIG", "nowhere.toml", "RSAGENT_CONFIG names 'nowhere.toml'"),
    ],
)
def test_errors_name_the_variable(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(NotConfigured, match=words):
        settings.load()


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "rsagent.toml").write_text("[server\n")
    with pytest.raises(NotConfigured, match="settings cannot be read"):
        settings.load()


def test_what_kubernetes_sets_for_a_service_is_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSAGENT_PORT", "tcp://10.0.0.1:80")
    monkeypatch.setenv("RSAGENT_SERVER", "nonsense")
    assert settings.load().server.port == 8080


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().server.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("profile", "kinds"),
    [("embedded", ("local", "local")), ("engines", ("vllm", "ray")), ("cluster", ("openai", "ray"))],
)
def test_a_profile_says_which_engines_run(
    monkeypatch: pytest.MonkeyPatch, profile: str, kinds: tuple[str, str]
) -> None:
    monkeypatch.setenv("RSAGENT_PROFILE", profile)
    loaded = settings.load()
    assert (loaded.policy.kind, loaded.segmenter.kind) == kinds


def test_a_component_that_is_set_goes_before_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSAGENT_POLICY__OPENAI__BASE_URL", "http://engine:8001/v1")
    monkeypatch.setenv("RSAGENT_SEGMENTER__KIND", "local")
    loaded = settings.load(profile="engines")
    assert (loaded.policy.kind, loaded.segmenter.kind) == ("openai", "local")
    assert settings.load(profile="engines", policy={"kind": "local"}).policy.kind == "local"


def test_an_unknown_profile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSAGENT_PROFILE", "fast")
    with pytest.raises(NotConfigured, match="RSAGENT_PROFILE"):
        settings.load()
    monkeypatch.setenv("RSAGENT_PORT", "tcp://10.0.0.1:80")
    monkeypatch.setenv("RSAGENT_PROFILE", "engines")
    assert settings.load().profile == "engines"


def test_several_servers_are_set_apart_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSAGENT_POLICY__OPENAI__BASE_URL", "http://a:8001/v1, https://b/v1")
    assert settings.load().policy.openai.urls == ("http://a:8001/v1", "https://b/v1")
    for wrong in ("http://a/v1,", "http://a/v1,b/v1", ", http://a/v1", "http://a/v1 http://b/v1"):
        monkeypatch.setenv("RSAGENT_POLICY__OPENAI__BASE_URL", wrong)
        with pytest.raises(NotConfigured, match="RSAGENT_POLICY__OPENAI__BASE_URL"):
            settings.load()
