"""The README's commands, so that CI runs what people read.

A fenced `sh` block belongs to the marker comment above it: `<!-- run: server -->` needs the server of `make serve`,
`<!-- run: alone -->` needs nothing. Blocks under `<!-- run: ci -->` are what `.ci/run` itself calls, and those under
`<!-- run: settings -->` name weights that are not ours: a test checks that their settings are accepted.

    python deploy/readme.py server --port 8091
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MARKERS = ("ci", "server", "alone", "settings")
_BLOCK = re.compile(r"(?:<!-- run: (?P<marker>\w+) -->\n)?```sh\n(?P<body>.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block of shell commands and its marker (empty where there is none)."""

    marker: str
    body: str


def blocks(text: str) -> list[Block]:
    """All `sh` blocks of a page, in order."""
    return [Block(found["marker"] or "", found["body"]) for found in _BLOCK.finditer(text)]


def run(block: Block, port: int) -> None:
    """Run a block as it stands, but for the port, with the environment's programs first on the path."""
    script = block.body.replace("8080", str(port))
    path = f'export PATH="{Path(sys.executable).parent}:$PATH"\n'
    print(f"README: {script.strip()}", flush=True)
    subprocess.run(["bash", "-euo", "pipefail", "-c", path + script], cwd=ROOT, check=True)


def main() -> None:
    """Run every block of one marker; the first that fails ends it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("marker", choices=MARKERS)
    parser.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args()
    chosen = [block for block in blocks((ROOT / "README.md").read_text()) if block.marker == arguments.marker]
    if not chosen:
        sys.exit(f"the README has no block marked {arguments.marker!r}")
    for block in chosen:
        run(block, arguments.port)


if __name__ == "__main__":
    main()
