"""Rules 4, 7, 8 and 25 over real vLLM and real Ray Serve: the command that measures them, in its short form."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rsagent import settings
from rsagent.engines.command import interpreter
from rsagent.errors import NotConfigured

pytestmark = pytest.mark.engines

ROOT = Path(__file__).parents[2]
PATIENCE = 3600.0
"""Seconds; some five minutes are enough where nothing else runs."""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_what_is_killed_is_missed_as_little_as_the_rules_say(tmp_path: Path) -> None:
    try:
        interpreter(settings.load().policy.vllm)
    except NotConfigured as error:
        pytest.skip(str(error))
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: `make engines` sets it up")
    out = tmp_path / "drill.json"
    command = [sys.executable, "-m", "loadtests", "reliability", "chaos", "--profile", "engines", "--short"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "-o", str(out)], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=PATIENCE
    )
    assert out.exists(), (done.stdout + done.stderr)[-6000:]
    verdicts = json.loads(out.read_text())
    assert [verdict for verdict in verdicts if not verdict["holds"]] == []
    told = " ".join(verdict["what"] for verdict in verdicts)
    for words in ("killed mid-turn", "replicas killed", "vLLM killed", "untyped errors", "processes left"):
        assert words in told
