"""The locustfile, run for real: headless users against a service of its own process."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from loadtests.stand import standing

REQUESTS = 6
FILE = Path(__file__).resolve().parents[3] / "loadtests" / "bench" / "locustfile.py"

pytestmark = pytest.mark.skipif(importlib.util.find_spec("locust") is None, reason="locust is in the bench extra")


def test_users_watch_their_streams_to_the_end() -> None:
    with standing(0.01, 0.0) as stand:
        words = ["-f", str(FILE), "--headless", "-u", "2", "-r", "2", "--host", stand.url, "--json", "--skip-log"]
        done = subprocess.run(
            [sys.executable, "-m", "locust", *words],
            env=os.environ | {"RSAGENT_LOCUST_REQUESTS": str(REQUESTS)},
            stdout=subprocess.PIPE,
            timeout=600,
        )
    assert done.returncode == 0
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    for name in ("whole", "first byte", "first mask", "final"):
        assert rows[name]["num_requests"] >= REQUESTS - 1, "one may be under way when the run ends"
        assert rows[name]["num_failures"] == 0
    assert rows["first byte"]["total_response_time"] <= rows["final"]["total_response_time"]
