"""`rsagent serve --profile engines`: a whole request through both engines, and nothing left of them afterwards."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.engines.test_keeper import gone

from rsagent import examples, settings
from rsagent.engines.command import interpreter
from rsagent.errors import NotConfigured

pytestmark = pytest.mark.engines

START_SECONDS = 900.0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """The address of a service, and its process."""
    try:
        interpreter(settings.load().policy.vllm)
    except NotConfigured as error:
        pytest.skip(str(error))
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: `make engines` sets it up")
    folder = tmp_path_factory.mktemp("serve")
    own = {
        "RSAGENT_POLICY__VLLM__LOGS": str(folder),
        "RSAGENT_POLICY__VLLM__THREADS": "1",
        "RSAGENT_SEGMENTER__RAY__START_TIMEOUT": "600",
    }
    with started("engines", folder, own) as service:
        yield service


@contextmanager
def started(profile: str, folder: Path, own: dict[str, str]) -> Iterator[tuple[str, int]]:
    """`rsagent serve` with a profile and variables of its own: its address, and its process."""
    log = folder / "serve.log"
    with log.open("wb") as file:
        service = subprocess.Popen(
            [sys.executable, "-m", "rsagent.cli", "serve", "--profile", profile, "--port", "0"],
            stdout=file,
            stderr=file,
            env=os.environ | own,
            cwd=folder,
        )
    try:
        yield _address(service, log), service.pid
    finally:
        if service.poll() is None:
            service.terminate()
        try:
            service.wait(60)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()


def _address(service: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and service.poll() is None:
        for word in log.read_text().split():
            if word.startswith("http://127.0.0.1:"):
                return word
        time.sleep(0.1)
    raise AssertionError(f"the service did not start:\n{log.read_text()[-4000:]}")


def family(pid: int) -> list[int]:
    """The process, its children, and theirs; those that left for a session of their own, too."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_request_passes_both_engines_and_they_end_with_the_service(served: tuple[str, int]) -> None:
    url, pid = served
    example = examples.load()[0]
    with httpx.Client(base_url=url, timeout=300, trust_env=False) as http:
        assert http.get("/readyz").status_code == 200
        told = {"query": example.sentences[0], "options": json.dumps({"deadline_ms": 300_000})}
        answer = http.post("/v1/segment", files={"image": example.path.read_bytes()}, data=told)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["stop_reason"] not in ("engine_error", "deadline")
        assert body["turns"]
        counted = http.get("/metrics").text
    assert "rsagent_image_bytes_sent_total 0.0" not in counted
    processes = family(pid)
    assert len(processes) > 4
    os.kill(pid, signal.SIGTERM)
    assert gone(processes, 120)
