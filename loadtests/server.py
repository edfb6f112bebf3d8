"""A real `rsagent serve` as a child process, and its memory."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx


@dataclass(frozen=True)
class Server:
    """A running child: its address, its process, and the seconds until it was ready."""

    url: str
    pid: int
    seconds_to_ready: float

    def memory_mb(self, field: str = "VmRSS") -> float:
        """Resident memory of the process, now (`VmRSS`) or at its peak (`VmHWM`), in megabytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(field))
        return int(line.split()[1]) * 1024 / 1e6


@contextmanager
def serving(patience: float = 180.0) -> Iterator[Server]:
    """Start the embedded profile on a free port, wait until it is ready, end it with SIGTERM."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        started = time.perf_counter()
        command = [sys.executable, "-m", "rsagent.cli", "serve", "--port", str(port)]
        child = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ)
        try:
            while not _ready(url):
                if child.poll() is not None or time.perf_counter() - started > patience:
                    log.seek(0)
                    raise RuntimeError(f"the server did not come up:\n{log.read().decode()}")
                time.sleep(0.1)
            yield Server(url, child.pid, time.perf_counter() - started)
        finally:
            child.terminate()
            child.wait(30)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
