"""Killing a replica under load: when it is struck, and what is told of those that failed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from loadtests.bench import clients, replicas
from loadtests.bench.clients import Asked
from loadtests.bench.contenders import Hall, Service
from loadtests.bench.cpu import Meter
from loadtests.bench.recording import Library, Recording
from tests.loadtests.bench.staging import library

from rsagent.settings import Settings


class Counted:
    """A service of which only the address and the count of second calls are asked."""

    url = "http://service"

    def __init__(self) -> None:
        self._retries = iter((1.0, 4.0))

    async def metrics(self) -> Mapping[str, float]:
        return {replicas.RETRIES: next(self._retries)}


async def test_a_third_is_answered_before_the_kill_and_failures_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, recordings = library(tmp_path, *[1] * 6)
    answered: list[int] = []

    async def ask(http: Any, recording: Recording) -> Asked:
        await asyncio.sleep(0)
        answered.append(recording.number)
        if recording.number == 5:
            raise RuntimeError("an episode failed")
        return Asked(0.0, (), 0.0, {})

    monkeypatch.setattr(clients, "ask", ask)
    struck: list[int] = []
    found = await replicas.killed(cast(Service, Counted()), recordings, 1, lambda: struck.append(len(answered)))
    assert struck == [2]
    assert (found.requests, found.failed, found.retries) == (6, ("an episode failed",), 3)
    assert found.worst >= 0
    assert found.usual >= 0


def test_the_replica_that_worked_most_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    children = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(3)]
    try:
        titles = (replicas.TITLE + b"Segmenter", replicas.TITLE + b"Segmenter", b"ray::ServeReplica:another:S")
        for child, title in zip(children, titles, strict=True):
            folder = tmp_path / str(child.pid)
            folder.mkdir()
            (folder / "cmdline").write_bytes(title)
        work = dict(zip((child.pid for child in children), (1.0, 2.0, 3.0), strict=True))
        meter = Meter("mark")
        monkeypatch.setattr(meter, "read", lambda: work)
        hall = Hall(tmp_path / "plan", Library(tmp_path), tmp_path, {}, meter)
        replicas.kill(hall, tmp_path)
        assert children[1].wait(60) == -9
        assert children[0].poll() is None
        assert children[2].poll() is None
        monkeypatch.setattr(meter, "read", lambda: {children[2].pid: 1.0})
        with pytest.raises(RuntimeError, match="no replica"):
            replicas.kill(hall, tmp_path)
    finally:
        for child in children:
            child.kill()
            child.communicate()


def test_one_replica_is_an_application_of_its_own_on_the_same_cluster() -> None:
    two = replicas.for_replicas(Settings())
    assert (two.segmenter.kind, two.segmenter.ray.replicas) == ("ray", 2)
    found = replicas.both(two)
    assert found["replicas"] is two
    alone = found["alone"].segmenter.ray
    assert (alone.replicas, alone.application) == (1, replicas.ALONE)
    assert alone.address == two.segmenter.ray.address
    assert replicas.TITLE.decode().split(":")[3] == two.segmenter.ray.application


def test_the_speed_up_is_taken_within_a_round() -> None:
    killed = replicas.Killed(3, (), 0, 1.0, 2.0)
    assert replicas.Replicated({1: [10.0, 20.0], 2: [15.0, 40.0]}, killed).speedups() == [1.5, 2.0]
