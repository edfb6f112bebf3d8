"""CPU-seconds of processes and of all that descend from them, as the kernel counts them."""

from __future__ import annotations

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PARENT, USER, SYSTEM = 1, 11, 12
"""Places in /proc/PID/stat after the name, see proc(5)."""
RAY = "the rest of Ray"
ROLES = {
    "VLLM::": "vLLM's engine",
    "vllm.entrypoints": "vLLM's server",
    "ray::ServeReplica": "segmenter replicas",
    "loadtests.bench.stand": "service",
    "loadtests.bench.worker": "contender",
    "ray::": RAY,
    "raylet": RAY,
    "gcs_server": RAY,
    "ray/_private": RAY,
    "ray/dashboard": RAY,
    "segmenter.serve.head": RAY,
}
"""What a process is, by the first of these words in its command line. In the embedded profile both engines are within
the service."""
OTHERS = "others"


class Meter:
    """Reads processes whose environment holds `mark`, and their descendants: some (Ray's) write over theirs."""

    def __init__(self, mark: str, proc: Path = Path("/proc")) -> None:
        self._mark = mark.encode()
        self._proc = proc

    def read(self) -> dict[int, float]:
        """CPU-seconds so far by process id."""
        stats = self._stats()
        counted: dict[int, float] = {}
        for pid, stat in stats.items():
            if self._is_ours(pid, stats):
                counted[pid] = (int(stat[USER]) + int(stat[SYSTEM])) / TICKS
        return counted

    def by_role(self, before: dict[int, float]) -> dict[str, float]:
        """CPU-seconds since an earlier `read`, by what the processes are. What one took that has ended meanwhile is
        not in it."""
        found: dict[str, float] = {}
        for pid, seconds in self.read().items():
            role = self._role(pid)
            found[role] = found.get(role, 0.0) + seconds - before.get(pid, 0.0)
        return found

    def _role(self, pid: int) -> str:
        try:
            words = (self._proc / str(pid) / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:  # gone
            return OTHERS
        return next((role for word, role in ROLES.items() if word in words), OTHERS)

    def _stats(self) -> dict[int, list[str]]:
        found = {}
        for folder in self._proc.glob("[0-9]*"):
            try:
                text = (folder / "stat").read_text()
            except OSError:  # it has ended
                continue
            found[int(folder.name)] = text.rpartition(")")[2].split()
        return found

    def _is_ours(self, pid: int, stats: dict[int, list[str]]) -> bool:
        while pid in stats:
            if self._is_marked(pid):
                return True
            pid = int(stats[pid][PARENT])
        return False

    def _is_marked(self, pid: int) -> bool:
        try:
            return self._mark in (self._proc / str(pid) / "environ").read_bytes()
        except OSError:  # another user's, or gone
            return False
