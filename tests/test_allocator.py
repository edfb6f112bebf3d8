from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest

from rsagent import allocator

FAULTS = """
import json, resource, sys
from rsagent.allocator import keep_memory
told = keep_memory() if sys.argv[1] == "kept" else None
import torch
def batches():
    for size in (1, 2, 4, 3):
        held = [torch.ones(size << 18) for _ in range(12)]  # a megabyte to four, each
for _ in range(20):
    batches()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    batches()
print(json.dumps([told, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before]))
"""
GLIBC = platform.libc_ver()[0] == "glibc"


def faults(kept: str, **environment: str) -> tuple[bool | None, int]:
    """What `keep_memory` said in a fresh process, and the page faults of ten rounds of batches there."""
    command = [sys.executable, "-c", FAULTS, kept]
    run = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    told, found = json.loads(run.stdout)
    return told, found


@pytest.mark.skipif(not GLIBC, reason="the C library is another")
def test_memory_of_one_batch_serves_the_next_without_a_fault() -> None:
    given_back = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what glibc does by itself hangs on the order of things
    told, found = faults("kept", **given_back)
    assert told
    assert found < 100
    assert faults("not", **given_back)[1] > 100_000


@pytest.mark.skipif(not GLIBC, reason="the C library is another")
def test_a_process_can_be_started_with_it() -> None:
    assert faults("not", **allocator.ENVIRONMENT)[1] < 100


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not allocator.keep_memory()
