"""Whether a container does its work: exit status 0 or 1. Standard library only, for any interpreter.

healthy.py http URL                 it answers with success
healthy.py process NAME HOST:PORT   a process of that name runs here, and somebody listens there
"""

import socket
import sys
import urllib.request
from pathlib import Path

SECONDS = 4.0


def http(url: str) -> bool:
    """Whether `url` answers with success."""
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:
        return bool(answer.status == 200)


def process(name: str, address: str) -> bool:
    """Whether a process called `name` runs, and whether `address`, host:port, takes connections."""
    running = any(path.read_text().strip() == name for path in Path("/proc").glob("[0-9]*/comm"))
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS):
        return running


def main(words: list[str]) -> int:
    """0 where the named check holds; 1 where it does not, or cannot be made."""
    try:
        return 0 if {"http": http, "process": process}[words[0]](*words[1:]) else 1
    except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
