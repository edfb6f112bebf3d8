"""The synchronous client: the same, from code without an event loop, and from code within one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from tests.api.stage import FINISH, PNG, SEGMENT, Cast, Stage, on_air

import rsagent
from rsagent.policy.fake import ScriptedPolicy


@contextmanager
def served(cast: Cast | None = None) -> Iterator[Stage]:
    """A stage on the loop of another thread."""
    ready, over = threading.Event(), threading.Event()
    found: list[Stage] = []

    async def play() -> None:
        async with on_air(cast) as stage:
            found.append(stage)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(play(),))
    thread.start()
    try:
        assert ready.wait(30)
        yield found[0]
    finally:
        over.set()
        thread.join()


def test_three_lines_are_enough() -> None:
    with served(Cast([SEGMENT, FINISH])) as stage:
        client = rsagent.Client(stage.url)
        answer = client.segment(PNG, "the box")
        assert answer.mask.any()
        assert client.ready()
        client.close()
        client.close()


def test_events_arrive_one_by_one() -> None:
    with served(Cast([SEGMENT, FINISH])) as stage, rsagent.Client(stage.url) as client:
        events = list(client.stream(PNG, "the box"))
    assert isinstance(events[0], rsagent.Accepted)
    assert isinstance(events[-1], rsagent.Answer)


def test_leaving_the_loop_hangs_up() -> None:
    with served(Cast(policy=ScriptedPolicy([SEGMENT], delay=30))) as stage, rsagent.Client(stage.url) as client:
        events = client.stream(PNG, "the box")
        assert isinstance(next(events), rsagent.Accepted)
        events.close()
        deadline = threading.Event()
        for _ in range(100):
            if not stage.policy.running:
                break
            deadline.wait(0.05)
        assert stage.policy.running == 0


def test_failures_are_raised_in_the_callers_thread() -> None:
    with rsagent.Client("http://127.0.0.1:9", retries=0) as client, pytest.raises(rsagent.Unreachable):
        client.segment(PNG, "x")


def test_many_threads_may_share_one() -> None:
    with (
        served(Cast([SEGMENT, FINISH])) as stage,
        rsagent.Client(stage.url) as client,
        ThreadPoolExecutor(4) as threads,
    ):
        answers = list(threads.map(lambda _: client.segment(PNG, "the box"), range(8)))
    assert len({answer.id for answer in answers}) == 8


async def test_it_works_where_a_loop_runs() -> None:
    def inside() -> str:
        with served(Cast([SEGMENT, FINISH])) as stage, rsagent.Client(stage.url) as client:
            return client.segment(PNG, "the box").status

    assert inside() == "segmented"


def test_importing_the_package_costs_nothing_and_the_client_no_torch() -> None:
    code = (
        "import sys, rsagent; assert 'numpy' not in sys.modules; assert 'Client' in dir(rsagent);"
        "rsagent.Client; assert 'torch' not in sys.modules; assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="Klient"):
        rsagent.Klient  # noqa: B018
