"""Write the locks anew: pinned versions with the hashes of every file that may be installed.

Run it where pip finds PyTorch's CPU build (`torch==2.13.0+cpu`); the locks name no registry. The lock of vLLM's GPU
build is written only where asked for (`lock.py vllm-gpu`), since there pip must not find that build.
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


LEFT_OUT = ("torchaudio", "torchcodec", "triton")
"""What vLLM's CPU build asks for and does without: two that do not load beside a CPU torch, and a compiler of 1 GB."""


def lock(name: str, *extras: str) -> None:
    """Resolve the project with these extras into the file `name`."""
    compile_into(ROOT / name, "pyproject.toml", *(word for extra in extras for word in ("--extra", extra)))


def lock_vllm(build: str, *left_out: str) -> None:
    """Resolve vLLM's build into a lock beside its requirement."""
    # What pip-tools calls unsafe is resolved, and then not written down.
    words = [word for package in left_out for word in ("--no-allow-unsafe", "--unsafe-package", package)]
    compile_into(ROOT / "deploy" / "vllm" / f"{build}.lock", f"deploy/vllm/{build}.in", *words)


def compile_into(path: Path, source: str, *words: str) -> None:
    """Have pip-tools resolve `source`, and write what it finds under our own heading."""
    command = [sys.executable, "-m", "piptools", "compile", *OPTIONS, *words, "-o", str(path), source]
    subprocess.run(command, cwd=ROOT, check=True)
    body = [line for line in path.read_text().splitlines(keepends=True) if not line.startswith("#")]
    path.write_text(HEADER.format(name=path.relative_to(ROOT)) + "".join(body).lstrip())


if __name__ == "__main__":
    if sys.argv[1:] == ["vllm-gpu"]:
        lock_vllm("gpu")
    else:
        lock("requirements.lock")
        lock("requirements-dev.lock", "dev", "train", "telemetry", "bench")
        lock("requirements-engines.lock", "engines")
        lock_vllm("cpu", *LEFT_OUT)
