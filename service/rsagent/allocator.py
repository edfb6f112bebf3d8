"""The C library's allocator, set up for tensors.

A decoder frees tens of megabytes after each batch and asks for as many with the next. By default glibc gives them back
to the kernel in between, and each page that comes again is a fault: a tenth of a decode's time on a quiet machine, a
third on a virtual one whose host gives pages slowly. So a process of ours keeps what it frees. One arena, since every
other lies in pieces of 64 MB that come and go.
"""

from __future__ import annotations

import ctypes
import platform

KEPT_BYTES = 1 << 30
LARGEST_IN_HEAP = 32 << 20
"""glibc takes no larger one on 64 bits."""
ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(LARGEST_IN_HEAP),
    "MALLOC_TRIM_THRESHOLD_": str(KEPT_BYTES),
}
"""For a process to be: glibc reads it at the start, and any other C library does not mind it."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # glibc's malloc.h


def keep_memory() -> bool:
    """The same for this process; whether the C library could be told (only glibc can).

    Call it before threads are started: each keeps the arena that it began with.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    wanted = {_ARENA_MAX: 1, _MMAP_THRESHOLD: LARGEST_IN_HEAP, _TRIM_THRESHOLD: KEPT_BYTES}
    told = [mallopt(name, value) for name, value in wanted.items()]
    return all(one == 1 for one in told)
