"""The cluster of one machine as a child: how its start is waited for, and that it ends with whoever started it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.segmenter.serve.running import members, until_gone

from rsagent.engines.vllm import KEEPER
from rsagent.errors import SegmenterError
from rsagent.segmenter.serve import cluster, local
from rsagent.settings import SegmenterSettings

Launch = Callable[[str], list[subprocess.Popen[bytes]]]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Launch:
    """Have `head`, a script that is told the folder, run in place of Ray; what was started is in the list."""

    def use(head: str) -> list[subprocess.Popen[bytes]]:
        started: list[subprocess.Popen[bytes]] = []

        def launch(folder: Path, settings: SegmenterSettings) -> subprocess.Popen[bytes]:
            script = f"from pathlib import Path; import time; folder = Path({str(folder)!r}); {head}"
            command = [sys.executable, "-I", str(KEEPER), "1", sys.executable, "-I", "-c", script]
            started.append(subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True))
            return started[-1]

        monkeypatch.setattr(local, "require", lambda: None)
        monkeypatch.setattr(local, "_launch", launch)
        return started

    return use


def settings(seconds: float = 60) -> SegmenterSettings:
    return SegmenterSettings(kind="ray", ray={"start_timeout": seconds})


async def test_it_is_found_by_its_address_and_ends_with_the_context(launched: Launch) -> None:
    started, told = launched("(folder / 'address').write_text('here:1'); time.sleep(600)"), list[str]()
    async with local.running(settings(), told.append) as found:
        assert found.ray.address == "here:1"
        assert found.ray.token_path is not None
        assert found.ray.token_path.name == "token"
        assert found.kind == "ray"
        assert started[0].poll() is None
    assert started[0].poll() is not None
    assert any(str(found.ray.token_path.parent) in line for line in told)


async def test_why_it_does_not_start_is_told(launched: Launch) -> None:
    started = launched("(folder / 'failure').write_text('no weights at w.pth'); time.sleep(600)")
    with pytest.raises(SegmenterError, match=r"no weights at w\.pth; its logs are in .*rsagent-ray-"):
        await local.running(settings()).__aenter__()
    assert started[0].poll() is not None


async def test_ray_that_gives_itself_up_is_started_again(launched: Launch) -> None:
    started = launched("(folder / 'failure').write_text('The node timed out during startup.')")
    with pytest.raises(SegmenterError, match="timed out during startup"):
        await local.running(settings()).__aenter__()
    assert len(started) == local.ATTEMPTS
    assert all(one.poll() is not None for one in started)


async def test_an_end_without_words_is_a_failure_too(launched: Launch) -> None:
    launched("raise SystemExit(3)")
    with pytest.raises(SegmenterError, match="Ray did not start; its logs are in"):
        await local.running(settings()).__aenter__()


async def test_patience_ends(launched: Launch) -> None:
    started = launched("time.sleep(600)")
    with pytest.raises(SegmenterError, match="START_TIMEOUT"):
        await local.running(settings(0.5)).__aenter__()
    assert started[0].poll() is not None


async def test_a_start_that_is_cancelled_leaves_nothing(launched: Launch) -> None:
    started = launched("time.sleep(600)")
    starting = asyncio.create_task(local.running(settings()).__aenter__())
    while not started:
        await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert started[0].poll() is not None


SERVICE = """
import asyncio, sys
from rsagent.segmenter.serve import local
from rsagent.settings import SegmenterSettings

async def main():
    settings = SegmenterSettings(kind="ray", ray={"start_timeout": 600, "object_store_bytes": 100 << 20})
    async with local.running(settings) as found:
        print(found.ray.token_path.parent, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.engines
@pytest.mark.skipif(not cluster.installed(), reason="Ray is in the engines extra")
def test_no_process_outlives_a_service_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", SERVICE], stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        folder = service.stdout.readline().strip()
        running = members(folder)
        assert {"gcs_server", "raylet"} <= {name for name, _ in running}
        assert any("ServeReplica" in name for name, _ in running)
        service.kill()
    until_gone(running)
