"""What `rsagent serve` says while it starts."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from rsagent.cli import serve
from rsagent.cli.serve import Progress
from rsagent.errors import NotConfigured
from rsagent.settings import ServerSettings, Settings


def test_without_a_terminal_a_start_is_told_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    out, now = io.StringIO(), [0.0]
    monkeypatch.setattr("rsagent.cli.serve.time.monotonic", lambda: now[0])
    progress = Progress(Console(file=out, width=60))
    for second in range(25):
        now[0] = float(second)
        progress.tell(f"vLLM: 0 of 1 ready after {second} s (log: /a/very/long/path/to/the/log/of/the/engine.log)")
    progress.end()
    assert [line.split("after ")[1][:4] for line in out.getvalue().splitlines()] == ["10 s", "20 s"]


def test_on_a_terminal_it_is_one_line() -> None:
    out = io.StringIO()
    progress = Progress(Console(file=out, force_terminal=True, width=60))
    progress.tell("vLLM: 0 of 1 ready after 3 s")
    progress.end()
    assert "after 3 s" in out.getvalue()


@pytest.mark.parametrize("profile", ["engines", None])
def test_the_profile_is_handed_on(monkeypatch: pytest.MonkeyPatch, profile: str | None) -> None:
    seen: list[Settings] = []

    def run(settings: Settings, announce: Callable[[str], None], tell: Callable[[str], None]) -> None:
        seen.append(settings)
        tell("on its way")
        announce("http://127.0.0.1:1")

    monkeypatch.setattr("rsagent.cli.serve.server.serve", run)
    serve.serve("127.0.0.1", 0, profile)
    assert seen[0].profile == (profile or "embedded")
    assert seen[0].server.port == 0


@pytest.mark.parametrize(
    ("policy", "named"),
    [({}, "nano"), ({"kind": "vllm"}, "nano in vLLM"), ({"openai": {"base_url": "http://a/v1"}}, "at http://a/v1")],
)
def test_the_policy_is_named(policy: dict[str, Any], named: str) -> None:
    assert serve._policy(Settings(policy=policy)) == named


def test_a_port_that_is_taken_is_said_before_anything_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NotConfigured, match=f"--port {port + 1}"):
            serve.check_free(ServerSettings(port=port))
        serve.check_free(ServerSettings(port=port, shared=True))
    serve.check_free(ServerSettings(port=port))
    serve.check_free(ServerSettings(port=0))
