"""Stands in for vLLM where only its life is looked at: answers /health after a while, and may misbehave.

python fake_vllm.py PORT [--delay SECONDS] [--fail] [--stubborn] [--pids FILE]
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--fail", action="store_true")
    parser.add_argument("--stubborn", action="store_true", help="with a grandchild, both deaf to SIGTERM")
    parser.add_argument("--pids", type=Path)
    chosen = parser.parse_args()
    pids = [os.getpid()]
    if chosen.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pids.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"]).pid)
    if chosen.pids:
        chosen.pids.write_text(" ".join(map(str, pids)))
    time.sleep(chosen.delay)
    if chosen.fail:
        raise ValueError("no such model")
    HTTPServer(("127.0.0.1", chosen.port), Health).serve_forever()


if __name__ == "__main__":
    main()
