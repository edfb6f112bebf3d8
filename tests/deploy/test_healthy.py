"""What a container's health check says."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "containers" / "healthy.py"


def status(*words: str) -> int:
    """The exit status of the check, run as the containers run it."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), *words], check=False, capture_output=True
    ).returncode


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/well" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_http(address: str) -> None:
    assert status("http", f"http://{address}/well") == 0
    assert status("http", f"http://{address}/ill") == 1


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        assert status("http", f"http://{address}/") == 1
        assert status("process", "python", address) == 1


@pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="processes are found in /proc")
def test_a_process(address: str) -> None:
    mine = Path("/proc/self/comm").read_text().strip()
    assert status("process", mine, address) == 0
    assert status("process", "no-such-process", address) == 1


@pytest.mark.parametrize("words", [(), ("dance",), ("http",), ("process", "python")])
def test_words_that_make_no_sense(words: tuple[str, ...]) -> None:
    assert status(*words) == 1
