"""The life of an engine, with a stand-in that only knows /health."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.engines import fake_vllm
from tests.engines.test_keeper import free_port, gone, pids_in

from rsagent.engines import vllm
from rsagent.engines.command import Installed, Launch
from rsagent.engines.settings import VLLMSettings
from rsagent.engines.vllm import Engine, running
from rsagent.errors import NotConfigured, PolicyError
from rsagent.policy.settings import OpenAIPolicySettings


def engine(tmp_path: Path, *words: str, **settings: Any) -> Engine:
    port = free_port()
    command = (sys.executable, fake_vllm.__file__, str(port), "--pids", str(tmp_path / "pids"), *words)
    return Engine(Launch(command, os.environ, port, "k"), VLLMSettings(logs=tmp_path, **settings))


async def test_it_is_waited_for_and_ended(tmp_path: Path) -> None:
    async with engine(tmp_path, "--delay", "0.3").started() as started:
        await started.until_it_answers()
        pids = pids_in(tmp_path / "pids")
    assert gone(pids)
    assert started.log.is_file()


async def test_one_that_ends_at_once_is_an_error_that_names_the_log(tmp_path: Path) -> None:
    async with engine(tmp_path, "--fail").started() as started:
        with pytest.raises(PolicyError, match="ValueError: no such model") as caught:
            await started.until_it_answers()
        assert str(started.log) in str(caught.value)
        assert started.starts == 1


async def test_one_that_never_answers_is_given_up(tmp_path: Path) -> None:
    async with engine(tmp_path, "--delay", "60", start_timeout=0.5).started() as started:
        with pytest.raises(PolicyError, match="start_timeout"):
            await started.until_it_answers()
        pids = pids_in(tmp_path / "pids")
    assert gone(pids)


async def test_one_that_dies_is_started_anew(tmp_path: Path) -> None:
    async with engine(tmp_path).started() as started:
        await started.until_it_answers()
        [first] = pids_in(tmp_path / "pids")
        (tmp_path / "pids").unlink()
        os.kill(first, signal.SIGKILL)
        end = time.monotonic() + 20
        while not (tmp_path / "pids").exists() and time.monotonic() < end:
            await asyncio.sleep(0.05)
        await started.until_it_answers()
        [second] = pids_in(tmp_path / "pids")
        assert first != second
        assert started.starts == 2
    assert gone([first, second])


async def test_several_are_asked_by_their_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def launch(settings: VLLMSettings, **known: Any) -> Launch:
        words = (sys.executable, fake_vllm.__file__, str(known["port"]))
        return Launch(words, os.environ, known["port"], known["key"])

    async def installed(python: Path) -> Installed:
        return Installed("cpu", False)

    monkeypatch.setattr(vllm, "launch", launch)
    monkeypatch.setattr(vllm, "installed", installed)
    told: list[str] = []
    settings = VLLMSettings(logs=tmp_path, replicas=2, python=Path(sys.executable), guided=True)
    async with running(settings, OpenAIPolicySettings(stall_timeout=7), told.append) as found:
        assert len(set(found.urls)) == 2
        assert all(url.endswith("/v1") for url in found.urls)
        assert (found.server, found.dialect, found.factor, found.max_pixels) == ("vllm", "nano", 32, 82944)
        assert (found.stall_timeout, found.guided, found.model) == (7, True, "rsagent-policy")
        assert found.api_key is not None
    assert told[-1].startswith("vLLM: 2 of 2 ready")
    assert str(tmp_path) in told[-1]


async def test_without_vllm_the_fix_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr("rsagent.engines.command.importlib.util.find_spec", lambda name: None)
    with pytest.raises(NotConfigured, match="make engines"):
        async with running(VLLMSettings(logs=tmp_path)):
            pass
