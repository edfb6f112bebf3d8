"""Played episodes on disk: playing one takes longer than learning from it, so it is done beside an earlier stage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rsagent.training.policy.album import PAGE, Album
from rsagent.training.policy.lessons import PLAIN, Gaze, Lesson, Scribe, Words, draw
from rsagent.training.policy.play import play
from rsagent.training.world import World

BILL = 64
TURNS = {1: 0.15, 2: 0.05, 3: 0.1, 4: 0.15, 6: 0.15, 8: 0.4}


def perform(
    scribe: Scribe, album: Album, world: World, seed: int, count: int = BILL, words: Words = PLAIN
) -> list[Lesson]:
    """`count` episodes over scenes of one page of `album`; the same for the same seed."""
    rng = np.random.default_rng(seed)
    page = album.pages[seed % len(album.pages)]
    batch = album.take(page, np.sort(rng.choice(PAGE, count, replace=False)), mirror=bool(rng.random() < 0.5))
    lessons = []
    for row in range(count):
        scene = batch.scene(row, world.names)
        turns = int(rng.choice(list(TURNS), p=list(TURNS.values())))
        request = draw(scene, world, 1, rng, words)[0]
        lessons.append(play(scribe, scene, request, turns, rng))
    return lessons


def rehearse(scribe: Scribe, album: Album, world: World, folder: Path, bills: range, words: Words = PLAIN) -> None:
    """Write files of 64 lessons each into `folder`; a file already there is left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in bills:
        path = folder / f"{number:04d}.pt"
        if not path.exists():
            lessons = perform(scribe, album, world, number, words=words)
            torch.save([stored(lesson) for lesson in lessons], path.with_suffix(".partial"))
            path.with_suffix(".partial").rename(path)


def stored(lesson: Lesson) -> dict[str, Any]:
    """A lesson as tensors and plain values, which load without unpickling code."""
    pictures = tuple(torch.from_numpy(picture) for picture in lesson.pictures)
    return vars(lesson) | {"pictures": pictures, "gazes": [vars(gaze) for gaze in lesson.gazes]}


def restored(fields: dict[str, Any]) -> Lesson:
    """The lesson that `stored` was given."""
    pictures = tuple(picture.numpy() for picture in fields["pictures"])
    gazes = tuple(Gaze(**gaze) for gaze in fields["gazes"])
    return Lesson(**fields | {"pictures": pictures, "gazes": gazes})


def performances(folder: Path, size: int, seed: int) -> Iterator[list[Lesson]]:
    """Batches of lessons without end, from whatever files are there by then. Raises FileNotFoundError if there is
    none."""
    rng = np.random.default_rng(seed)
    while True:
        files = sorted(folder.glob("*.pt"))
        if not files:
            raise FileNotFoundError(f"no episodes in {folder}: play some with `rsagent.training.policy play`")
        kept: list[dict[str, Any]] = torch.load(files[int(rng.integers(len(files)))], weights_only=True)
        lessons = [restored(fields) for fields in kept]
        lessons.sort(key=lambda lesson: len(lesson.ids))
        starts = np.arange(0, len(lessons) - size + 1, size)
        for start in rng.permutation(starts):
            yield lessons[start : start + size]
