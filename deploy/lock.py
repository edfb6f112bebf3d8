"""Write both locks anew from pyproject.toml: pinned versions with the hashes of every file that may be installed.

Run it where pip finds PyTorch's CPU build (`torch==2.13.0+cpu`); the locks name no registry.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = [
    *("--quiet", "--generate-hashes", "--strip-extras", "--allow-unsafe"),
    *("--no-emit-index-url", "--no-emit-find-links", "--no-emit-trusted-host", "--no-emit-options"),
]
HEADER = "# Written by `make lock`. Install with: pip install --no-deps --require-hashes -r {name}\n"


def lock(name: str, *extras: str) -> None:
    """Resolve the project with these extras into the file `name`."""
    chosen = [word for extra in extras for word in ("--extra", extra)]
    command = [sys.executable, "-m", "piptools", "compile", *OPTIONS, *chosen, "-o", name, "pyproject.toml"]
    subprocess.run(command, cwd=ROOT, check=True)
    path = ROOT / name
    body = [line for line in path.read_text().splitlines(keepends=True) if not line.startswith("#")]
    path.write_text(HEADER.format(name=name) + "".join(body).lstrip())


if __name__ == "__main__":
    lock("requirements.lock")
    lock("requirements-dev.lock", "dev", "train", "telemetry")
