"""Replicas on a real Ray cluster: the same masks, each image with its replica, and every end of a call."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.segmenter.serve.conftest import PATIENCE
from tests.segmenter.serve.replicas import HeldReplica, TinyReplica, image, tiny_pool
from tests.segmenter.serve.running import deployed, eventually
from tests.segmenter.tiny import picture

from rsagent.deadline import Deadline
from rsagent.errors import BadRequest, DeadlineExceeded, NotConfigured, Overloaded
from rsagent.resilience.engines import GuardedSegmenter
from rsagent.resilience.settings import BreakerSettings, RetrySettings
from rsagent.segmenter.protocol import Image, Prompt, SegmentResult, image_id
from rsagent.segmenter.serve import cluster
from rsagent.segmenter.serve.client import RemoteSegmenter
from rsagent.segmenter.serve.settings import RaySettings
from rsagent.settings import SegmenterSettings

pytestmark = [pytest.mark.engines, pytest.mark.usefixtures("two_nodes")]

PROMPT = Prompt(box=(1.0, 1.0, 3.0, 3.0))
YAML = Path(__file__).resolve().parents[3] / "deploy" / "serve.yaml"
TWO = SegmenterSettings(ray=RaySettings(replicas=2))


async def test_masks_are_those_of_the_pool_in_process() -> None:
    local = tiny_pool(SegmenterSettings())
    async with deployed(TinyReplica, "same") as (remote, _):
        assert remote.variant == "tiny"
        assert await remote.ready()
        for seed in range(3):
            one, logits = picture(seed, 60 + seed, 90), None
            for box in ((5.0, 5.0, 30.0, 30.0), (8.0, 2.0, 60.0, 38.0)):
                prompt = Prompt(box=box, base_logits=logits)
                here = await local.segment(image_id(one), one, prompt)
                there = await remote.segment(image_id(one), one, prompt)
                np.testing.assert_array_equal(here.best.mask, there.best.mask)
                np.testing.assert_array_equal(here.best.logits, there.best.logits)
                assert here.best.score == there.best.score
                logits = there.best.logits
        with pytest.raises(BadRequest):
            await remote.segment("x", image(1), Prompt())
        large = picture(9, 4000, 9000)  # its packed mask exceeds gRPC's own limit, its pixels the object store's half
        answer = await remote.segment(image_id(large), large, Prompt(box=(5.0, 5.0, 8000.0, 3000.0)))
        assert answer.best.mask.shape == (4000, 9000)
    await local.close()


async def test_an_image_stays_with_its_replica() -> None:
    async with deployed(TinyReplica, "sticky", TWO, max_replicas_per_node=1) as (remote, handle):
        images = [picture(seed) for seed in range(24)]

        async def turns(one: Image) -> list[bool]:
            return [(await remote.segment(image_id(one), one, PROMPT)).encoded for _ in range(4)]

        assert await asyncio.gather(*map(turns, images)) == [[True, False, False, False]] * len(images)
        assert remote.images_sent == len(images)
        assert len({await handle.options(session_id=str(n)).pid.remote() for n in range(32)}) == 2


async def test_a_replica_killed_under_load_costs_no_request() -> None:
    async with deployed(TinyReplica, "mortal", TWO) as (remote, handle):
        guarded = GuardedSegmenter(remote, BreakerSettings(), RetrySettings())  # as the service has it
        images = [picture(seed) for seed in range(16)]
        stop = asyncio.Event()

        async def client(number: int) -> int:
            count, chance = 0, random.Random(number)
            while not stop.is_set():
                one = chance.choice(images)
                answer = await guarded.segment(image_id(one), one, PROMPT, Deadline.after(120))
                assert answer.best.mask.shape == one.shape[:2]
                count += 1
            return count

        clients = [asyncio.create_task(client(number)) for number in range(8)]
        await asyncio.sleep(1)
        victim = await handle.pid.remote()
        os.kill(victim, signal.SIGKILL)
        await asyncio.sleep(3)
        assert await remote.ready()
        stop.set()
        counts = await asyncio.gather(*clients)
        assert sum(counts) > 8, "whether a call was on the replica just then, and so made again, is chance"


@pytest.mark.parametrize("known", [True, False], ids=["id", "pixels"])
async def test_cancelling_frees_the_replica(known: bool) -> None:
    async with deployed(HeldReplica, "held") as (remote, handle):
        await remote.segment("a", image(1), PROMPT)
        await handle.hold.remote()
        waiting = [asyncio.create_task(remote.segment("a" if known else "b", image(2), PROMPT)) for _ in range(6)]

        async def busy() -> bool:
            return bool(await handle.calls.remote() == len(waiting))

        async def idle() -> bool:
            return bool(await handle.calls.remote() == 0)

        await eventually(busy)
        for one in waiting:
            one.cancel()
        await asyncio.wait(waiting, timeout=5)
        assert all(one.cancelled() for one in waiting)
        await eventually(idle)
        before = await handle.decoded.remote()
        await handle.let_go.remote()
        await remote.segment("a", image(1), PROMPT)
        assert await handle.decoded.remote() <= before + 1, "those that were withdrawn are not decoded"


async def test_a_deadline_holds_here_and_there() -> None:
    async with deployed(HeldReplica, "late") as (remote, handle):
        await remote.segment("a", image(1), PROMPT)
        await handle.hold.remote()
        with pytest.raises(DeadlineExceeded):
            await remote.segment("a", image(1), PROMPT, Deadline.after(0.3))

        async def idle() -> bool:
            return bool(await handle.calls.remote() == 0)

        await eventually(idle)
        await handle.let_go.remote()


async def test_beyond_the_queue_is_overload() -> None:
    async with deployed(HeldReplica, "full", SegmenterSettings(queue=2)) as (remote, handle):
        await remote.segment("a", image(1), PROMPT)
        await handle.hold.remote()
        calls = [asyncio.create_task(remote.segment("a", image(1), PROMPT)) for _ in range(12)]

        async def refused_what_is_too_much() -> bool:
            return sum(call.done() for call in calls) >= 10

        await eventually(refused_what_is_too_much)
        await handle.let_go.remote()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        refused = [one for one in answers if isinstance(one, Overloaded)]
        assert len(refused) == 10, "all but the two that the queue holds, while those wait"
        assert all(one.retry_after for one in refused)
        assert sum(isinstance(one, SegmentResult) for one in answers) == 2


async def test_replicas_grow_under_load() -> None:
    growing = {"min_replicas": 1, "max_replicas": 2, "target_ongoing_requests": 1, "upscale_delay_s": 0}
    async with deployed(HeldReplica, "growing", num_replicas=None, autoscaling_config=growing) as (remote, handle):
        await remote.segment("a", image(1), PROMPT)
        await handle.hold.remote()
        calls = [asyncio.create_task(remote.segment("a", image(1), PROMPT)) for _ in range(6)]

        async def grown() -> bool:
            from ray import serve

            status = await asyncio.to_thread(serve.status)
            return bool(status.applications["growing"].deployments["Segmenter"].replica_states.get("RUNNING") == 2)

        await eventually(grown)
        await handle.broadcast("let_go").results_async()
        answers = await asyncio.gather(*calls)
        assert not any(answer.encoded for answer in answers)
        assert sorted(answer.batch_size for answer in answers) == [1, 5, 5, 5, 5, 5], "they gathered meanwhile"


async def test_the_yaml_runs_as_it_is(two_nodes: RaySettings) -> None:
    assert two_nodes.address is not None
    environ = {**os.environ, "RAY_ADDRESS": two_nodes.address}
    command = [str(Path(sys.executable).with_name("serve")), "run", "--non-blocking", str(YAML)]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=environ, capture_output=True, text=True)

    done = await asyncio.to_thread(run)
    assert done.returncode == 0, done.stderr
    settings = SegmenterSettings(kind="ray", ray=two_nodes.model_copy(update={"deploy": False}))
    segmenter = await asyncio.to_thread(cluster.load, settings)
    assert segmenter.variant == "nano"
    one = picture(1)
    answer = await segmenter.segment(image_id(one), one, Prompt(box=(10.0, 10.0, 60.0, 40.0)))
    assert answer.best.mask.shape == one.shape[:2]
    await segmenter.close()


def test_a_stranger_to_the_cluster_is_told_that_it_asks_for_its_token(two_nodes: RaySettings, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("f" * 64)
    asked = (
        "import sys; from rsagent.errors import NotConfigured; from rsagent.segmenter.serve import cluster;"
        "from rsagent.settings import SegmenterSettings\n"
        "ray = {'address': sys.argv[1], 'token_path': sys.argv[2]}\n"
        "try: cluster.load(SegmenterSettings(kind='ray', ray=ray))\n"
        "except NotConfigured as error: print(error)"
    )
    words = [sys.executable, "-c", asked, str(two_nodes.address), str(tmp_path / "token")]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    said = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert "RSAGENT_SEGMENTER__RAY__TOKEN_PATH" in said.stdout, said.stdout + said.stderr


async def test_without_the_application_the_fix_is_named() -> None:
    settings = SegmenterSettings(kind="ray", ray=RaySettings(application="absent", deploy=False))
    with pytest.raises(NotConfigured, match="serve deploy"):
        await asyncio.to_thread(cluster.load, settings)


async def test_the_connection_of_the_process_is_left_as_it_was() -> None:
    import ray

    async with deployed(TinyReplica, "guest") as (remote, _):
        assert isinstance(remote, RemoteSegmenter)
    assert ray.is_initialized()
