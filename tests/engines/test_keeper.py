"""The keeper: nothing of what it runs outlives the service, however that ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.engines import fake_vllm

from rsagent.engines import keeper

FAKE = fake_vllm.__file__


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def run(*words: str, grace: str = "5") -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", keeper.__file__, grace, *words]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pids_in(path: Path) -> list[int]:
    end = time.monotonic() + 20
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return [int(word) for word in path.read_text().split()]


def lives(pid: int) -> bool:
    """Whether the process runs; one that has ended and that nobody has asked for its status does not."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while any(map(lives, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(map(lives, pids))


@pytest.mark.parametrize("status", [0, 3])
def test_its_status_is_the_commands(start: Callable[..., subprocess.Popen[bytes]], status: int) -> None:
    assert start(sys.executable, "-c", f"raise SystemExit({status})").wait(20) == status


def test_a_closed_pipe_ends_the_command(start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    kept = start(sys.executable, FAKE, str(free_port()), "--pids", str(tmp_path / "pids"))
    pids = pids_in(tmp_path / "pids")
    assert kept.stdin is not None
    kept.stdin.close()
    assert kept.wait(20) == 128 + signal.SIGTERM
    assert gone(pids)


def test_sigterm_ends_the_command(start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    kept = start(sys.executable, FAKE, str(free_port()), "--pids", str(tmp_path / "pids"))
    pids = pids_in(tmp_path / "pids")
    kept.terminate()
    kept.wait(20)
    assert gone(pids)


def test_the_deaf_are_killed_with_their_children(start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    kept = start(sys.executable, FAKE, str(free_port()), "--stubborn", "--pids", str(tmp_path / "pids"), grace="0.3")
    pids = pids_in(tmp_path / "pids")
    assert len(pids) == 2
    assert kept.stdin is not None
    kept.stdin.close()
    assert kept.wait(20) == 128 + signal.SIGKILL
    assert gone(pids)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_the_command_ends_even_if_the_keeper_is_killed(
    start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    kept = start(sys.executable, FAKE, str(free_port()), "--pids", str(tmp_path / "pids"))
    pids = pids_in(tmp_path / "pids")
    kept.kill()
    kept.wait(20)
    assert gone(pids)


def test_the_command_ends_when_the_service_is_killed(tmp_path: Path) -> None:
    words = [sys.executable, "-I", keeper.__file__, "5", sys.executable, FAKE, str(free_port())]
    words += ["--pids", str(tmp_path / "pids")]
    service = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, time; p = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE,"
            " start_new_session=True); time.sleep(120)",
            *words,
        ]
    )
    pids = pids_in(tmp_path / "pids")
    os.kill(service.pid, signal.SIGKILL)
    service.wait()
    assert gone(pids)
