"""vLLM as children of the service: started, waited for, started anew when they die, and ended with us.

Each engine runs behind a keeper (`keeper.py`), which ends it when we are gone in whatever way. It listens on this
machine only, on a free port, and answers nobody without a key that is made up for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx
from pydantic import SecretStr

from rsagent.engines.command import HOST, MODEL, Launch, installed, interpreter, launch
from rsagent.engines.logs import last_error, new_log
from rsagent.engines.settings import VLLMSettings
from rsagent.errors import PolicyError
from rsagent.policy.files import describe, locate
from rsagent.policy.settings import OpenAIPolicySettings

log = logging.getLogger(__name__)

KEEPER = Path(__file__).parent / "keeper.py"
LOOK_SECONDS = 0.25
TELL_SECONDS = 1.0
LONGEST_PAUSE = 60.0

Tell = Callable[[str], None]
"""Told, now and then, how a start goes on."""


def silent(progress: str) -> None:
    """A `Tell` that nobody listens to."""


@asynccontextmanager
async def running(
    settings: VLLMSettings, openai: OpenAIPolicySettings | None = None, tell: Tell = silent
) -> AsyncIterator[OpenAIPolicySettings]:
    """Start the engines; what comes is how to ask them, with timeouts and the like as in `openai`.

    Raises NotConfigured, CheckpointError, or PolicyError when one does not start; its message names the log.
    """
    directory = await asyncio.to_thread(locate, settings.checkpoint, settings.revision)
    said = describe(directory, settings.checkpoint, settings.max_pixels)
    python = interpreter(settings)
    found, key = await installed(python), secrets.token_urlsafe(24)
    launches = [
        launch(
            settings,
            python=python,
            found=found,
            directory=directory,
            max_context=said.max_context,
            port=port,
            key=key,
            device=settings.devices[number % len(settings.devices)] if settings.devices else None,
            inherited=os.environ,
        )
        for number, port in enumerate(_free_ports(settings.replicas))
    ]
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(Engine(each, settings).started()) for each in launches]
        await _until_all_answer(engines, tell)
        how = openai or OpenAIPolicySettings()
        yield how.model_copy(
            update={
                "base_url": ",".join(f"{each.root}/v1" for each in launches),
                "model": MODEL,
                "api_key": SecretStr(key),
                "server": "vllm",
                "guided": settings.guided,
                "dialect": said.dialect,
                "max_pixels": said.view.max_pixels,
                "min_pixels": said.view.min_pixels,
                "factor": said.view.factor,
            }
        )


class Engine:
    """One vLLM. Once it has answered, it is started anew whenever it ends; before that, its end is an error."""

    def __init__(self, launch: Launch, settings: VLLMSettings) -> None:
        self._launch = launch
        self._settings = settings
        self._keeper: asyncio.subprocess.Process | None = None
        self._answered = False
        self.log = Path()
        self.starts = 0

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Engine]:
        """Start it; on leaving, end it and all its processes."""
        await self._start()
        minder = asyncio.create_task(self._mind())
        try:
            yield self
        finally:
            minder.cancel()
            with suppress(asyncio.CancelledError):
                await minder
            await self._stop()

    @property
    def root(self) -> str:
        return self._launch.root

    async def until_it_answers(self) -> None:
        """Wait for its health. Raises PolicyError when it ends before, or `start_timeout` has passed."""
        patience = self._settings.start_timeout
        end = time.monotonic() + patience
        async with httpx.AsyncClient(trust_env=False, timeout=2.0) as http:
            while not await _healthy(http, self.root):
                if self._keeper is None or self._keeper.returncode is not None:
                    raise PolicyError(f"vLLM did not start: {last_error(self.log)}; its log is {self.log}")
                if time.monotonic() > end:
                    told = f"vLLM did not answer within {patience:.0f} s; see its log {self.log}"
                    raise PolicyError(f"{told}, or raise the policy's vllm.start_timeout")
                await asyncio.sleep(LOOK_SECONDS)
        self._answered = True

    async def _start(self) -> None:
        self.log = new_log(self._settings.logs, "vllm")
        self.starts += 1
        words = (sys.executable, "-I", str(KEEPER), f"{self._settings.grace:g}", *self._launch.command)
        with self.log.open("ab") as file:
            self._keeper = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.PIPE,
                stdout=file,
                stderr=file,
                env=dict(self._launch.environment),
                # Ctrl-C in our terminal is for us: we end the engine when the turns under way have had their time.
                start_new_session=True,
            )

    async def _mind(self) -> None:
        """Start it anew whenever it ends, with a growing pause between starts that come to nothing."""
        pause = 1.0
        while self._keeper is not None:
            began = time.monotonic()
            status = await self._keeper.wait()
            if not self._answered:
                return
            pause = 1.0 if time.monotonic() - began > LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
            log.error("vLLM ended with status %d: %s (its log: %s)", status, last_error(self.log), self.log)
            await asyncio.sleep(pause)
            await self._start()
            log.warning("vLLM is started anew on %s (its log: %s)", self.root, self.log)

    async def _stop(self) -> None:
        """Close the keeper's pipe: it ends the group. If it does not in time, its own end tells the engine."""
        keeper, self._keeper = self._keeper, None
        if keeper is None or keeper.returncode is not None:
            return
        assert keeper.stdin is not None, "it was started with a pipe"
        keeper.stdin.close()
        try:
            async with asyncio.timeout(self._settings.grace + 5):
                await keeper.wait()
        except TimeoutError:
            keeper.kill()
            await keeper.wait()


async def _until_all_answer(engines: list[Engine], tell: Tell) -> None:
    """Wait for all, and tell meanwhile how long it has been."""
    waits = [asyncio.create_task(engine.until_it_answers()) for engine in engines]
    began = time.monotonic()
    try:
        while True:
            done, pending = await asyncio.wait(waits, timeout=TELL_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
            for wait in done:
                wait.result()
            waited = f"vLLM: {len(done)} of {len(waits)} ready after {time.monotonic() - began:.0f} s"
            tell(f"{waited} (log: {engines[0].log})")
            if not pending:
                return
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def _healthy(http: httpx.AsyncClient, root: str) -> bool:
    try:
        return (await http.get(f"{root}/health")).is_success
    except httpx.HTTPError:
        return False


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
