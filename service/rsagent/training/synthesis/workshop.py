"""Many trajectories: shards of scenes, played in worker processes, written as they are done, gone on from after a kill.

A shard is a function of its number and the plan alone, so that a run that was killed plays on where it stopped, and two
runs of one seed give the same files (but for what batching does to the last bits of a mask).
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count as count_up
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch

from rsagent.agent import dialects
from rsagent.policy.protocol import ViewSpec
from rsagent.segmenter.core import SamCore
from rsagent.segmenter.pool import SegmenterPool
from rsagent.segmenter.protocol import Segmenter, image_id
from rsagent.settings import SegmenterSettings
from rsagent.training.policy.shape import VIEW
from rsagent.training.synthesis.acting import Acted, Plan, Stage, act
from rsagent.training.synthesis.choosing import PASS, passes
from rsagent.training.synthesis.expert import Expert, Habits
from rsagent.training.synthesis.records import TrajectoriesMissing, Trajectory, read, write
from rsagent.training.synthesis.sources import Occasion, Source
from rsagent.training.synthesis.transcript import Gallery, ImageKind, Origin, transcribe

SHARDS = "shards"
CLICKING = Habits(clicks=2)
BUDGETS = {1: 0.05, 2: 0.05, 3: 0.1, 4: 0.15, 6: 0.2, 8: 0.45}
PLANS: dict[Plan, float] = {"straight": 0.56, "mistaken": 0.17, "misplaced": 0.07, "loose": 0.1, "astray": 0.1}
AT_ONCE = 16
ENOUGH = 1.3
"""How many that pass are played for each that is wanted, so that there is something to choose from."""
BARREN = 64
"""Shards in a row of which nothing passes before it is said that nothing will."""


@dataclass(frozen=True)
class Workshop:
    """All that trajectories depend on. `least` is the IoU a trajectory must end with; `varied` whether thoughts are
    worded in several ways."""

    source: Source
    folder: Path
    dialect: str = "nano"
    view: ViewSpec = VIEW
    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)
    images: ImageKind = "jpeg"
    habits: Habits = CLICKING
    varied: bool = True
    least: float = PASS
    seed: int = 0

    def file(self, shard: int) -> Path:
        """Where a shard is written."""
        return self.folder / SHARDS / f"{shard:05d}.jsonl"

    def done(self) -> dict[int, int]:
        """The shards that are written, and how many trajectories each has."""
        files = sorted((self.folder / SHARDS).glob("*.jsonl"))
        return {int(file.stem): file.read_bytes().count(b"\n") for file in files}

    def play(self, shard: int) -> int:
        """Play a shard and write it; how many trajectories passed. -1 where the source is at its end."""
        occasions = self.source.shard(shard)
        if not occasions:
            return -1
        passed = asyncio.run(self._perform(shard, occasions))
        self.file(shard).parent.mkdir(parents=True, exist_ok=True)
        return write(self.file(shard), passed)

    async def _perform(self, shard: int, occasions: Sequence[Occasion]) -> list[Trajectory]:
        chance = random.Random(f"{self.seed}:{self.source.name}:{self.source.split}:{shard}")
        pool = open_segmenter(self.segmenter)
        stage, gate = Stage(dialects.get(self.dialect), self.view, pool), asyncio.Semaphore(AT_ONCE)
        try:
            parts = [self._scene(occasion, stage, gate, chance.getrandbits(32)) for occasion in occasions]
            return [trajectory for part in await asyncio.gather(*parts) for trajectory in part]
        finally:
            await pool.close()

    async def _scene(self, occasion: Occasion, stage: Stage, gate: asyncio.Semaphore, seed: int) -> list[Trajectory]:
        image, chance = image_id(occasion.scene.image), random.Random(seed)
        found: list[Trajectory] = []
        for number, request in enumerate(occasion.requests):
            plan = chance.choices(list(PLANS), list(PLANS.values()))[0]
            budget = chance.choices(list(BUDGETS), list(BUDGETS.values()))[0]
            voice = chance.getrandbits(30)
            habits = replace(self.habits, voice=voice if self.varied else None)
            expert = Expert(occasion.scene, request, habits, stage.dialect.place)
            least = len(expert.order) + 1 if len(expert.order) > 1 else 1
            if least > max(BUDGETS):
                continue
            async with gate:
                rng = np.random.default_rng(chance.getrandbits(32))
                acted = await act(expert, image, plan, max(budget, least), stage, rng)
            found += self._kept(acted, occasion, f"{number}-{plan}")
        return found

    def _kept(self, acted: Acted, occasion: Occasion, name: str) -> list[Trajectory]:
        """The trajectory, its pictures written, if it passes."""
        source, split, gallery = self.source.name, self.source.split, Gallery(self.folder, self.images)
        origin = Origin(f"{source}-{split}-{occasion.name}-{name}", source, split, occasion.name)
        trajectory = transcribe(acted, origin, self.dialect, gallery)
        if not passes(trajectory, self.least):
            return []
        gallery.hang(acted)
        return [trajectory]


def open_segmenter(settings: SegmenterSettings) -> Segmenter:
    """A pool for one event loop, over weights that are read once a process."""
    return SegmenterPool(_core(settings), settings.variant, max_batch=AT_ONCE, queue=4 * AT_ONCE)


@cache
def _core(settings: SegmenterSettings) -> SamCore:
    return SegmenterPool.load(settings).core


def _quietly(threads: int) -> None:
    """Each worker computes on its own core."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)


def enough(count: int) -> int:
    """How many must have passed before `count` are chosen."""
    return round(count * ENOUGH)


def workers_of(count: int) -> Executor:
    """Processes that play shards, each on its own core."""
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _quietly, (1,))


def perform(workshop: Workshop, count: int, workers: Executor, ahead: int, told: Callable[[int], None]) -> int:
    """Play shards until enough for `count` have passed or the source is at its end; how many have.

    `told` hears after each shard how many have passed so far, at first of those that were there already. Shards are
    taken in order, `ahead` at a time, so that the first ones are the same whatever the number of workers. Raises
    TrajectoriesMissing where nothing passes any more.
    """
    done, wanted = workshop.done(), enough(count)
    told(sum(done.values()))
    numbers = (number for number in count_up() if number not in done)
    ended, running, barren = sum(done.values()) >= wanted, dict[Future[int], int](), 0
    with workers:
        while running or not ended:
            if not ended:
                more = islice(numbers, ahead - len(running))
                running |= {workers.submit(workshop.play, number): number for number in more}
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                number, passed = running.pop(future), future.result()
                if passed >= 0:
                    done[number] = passed
                told(sum(done.values()))
                barren = 0 if passed else barren + 1
                if barren == BARREN:
                    raise TrajectoriesMissing(
                        f"of {BARREN} shards nothing passed: no scene allows what is asked for, or it is out of reach;"
                        " give other --kinds or --situations, or a lower bar"
                    )
                ended = ended or passed < 0 or sum(done.values()) >= wanted
    return sum(done.values())


def shards_of(folder: Path) -> list[Trajectory]:
    """All that has passed in a folder, in order. Raises TrajectoriesMissing where nothing was played."""
    files = sorted((folder / SHARDS).glob("*.jsonl"))
    if not files:
        raise TrajectoriesMissing(f"no shards in {folder}: play some with `python -m rsagent.training.synthesis make`")
    return [item for file in files for item in read(file.parent, file.name)]


def played(workshop: Workshop, count: int) -> list[Trajectory]:
    """What has passed, of as few shards as are enough for `count`: the same whatever ran ahead."""
    found: list[Trajectory] = []
    for number in sorted(workshop.done()):
        found += read(workshop.folder / SHARDS, workshop.file(number).name)
        if len(found) >= enough(count):
            break
    return found


def remember(workshop: Workshop, plan: dict[str, object]) -> None:
    """Write what a run was started with; raises ValueError if the folder holds a run of another plan."""
    file = workshop.folder / "plan.json"
    text = json.dumps(plan, indent=1, sort_keys=True, default=str) + "\n"
    if file.exists() and file.read_text(encoding="utf-8") != text:
        raise ValueError(f"{workshop.folder} holds trajectories of other options ({file.name}): choose another folder")
    workshop.folder.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
