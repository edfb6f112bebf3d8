from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.training.synthesis.studio import Blunt, request, scene

from rsagent.training.synthesis import workshop as rooms
from rsagent.training.synthesis.finishing import finish
from rsagent.training.synthesis.records import CHOSEN, STEPS, TrajectoriesMissing, read
from rsagent.training.synthesis.sources import Occasion
from rsagent.training.synthesis.workshop import Workshop, perform, played, remember, shards_of


@dataclass(frozen=True)
class Few:
    """So many shards of the same two requests."""

    shards: int = 4
    name: str = "few"
    split: str = "train"

    def shard(self, number: int) -> Sequence[Occasion]:
        asked = (request(0), request(0, 1), request())
        return [Occasion(f"scene-{number}", scene(), asked)] if number < self.shards else []


@pytest.fixture(autouse=True)
def segmenter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "open_segmenter", lambda settings: Blunt())


def run(workshop: Workshop, count: int) -> list[int]:
    heard: list[int] = []
    perform(workshop, count, ThreadPoolExecutor(1), 1, heard.append)
    return heard


def test_it_plays_until_there_is_enough_and_says_so(tmp_path: Path) -> None:
    heard = run(Workshop(Few(), tmp_path), 4)
    assert heard[0] == 0
    assert heard == sorted(heard)
    assert heard[-1] >= 5
    assert len(list((tmp_path / "shards").glob("*.jsonl"))) == 2


def test_it_stops_where_the_source_ends(tmp_path: Path) -> None:
    assert run(Workshop(Few(shards=2), tmp_path), 1000)[-1] == 6


def test_a_run_that_was_stopped_goes_on_to_the_same_files(tmp_path: Path) -> None:
    whole, parts = Workshop(Few(), tmp_path / "whole"), Workshop(Few(), tmp_path / "parts")
    run(whole, 9)
    parts.play(1)
    (parts.folder / "shards" / "00002.jsonl.partial").write_text("{", encoding="utf-8")
    assert run(parts, 9)[0] == 3
    assert [item.id for item in shards_of(whole.folder)] == [item.id for item in shards_of(parts.folder)]
    assert list(shards_of(whole.folder)) == list(shards_of(parts.folder))


def test_a_folder_of_other_options_is_refused(tmp_path: Path) -> None:
    workshop = Workshop(Few(), tmp_path)
    remember(workshop, {"dialect": "nano"})
    remember(workshop, {"dialect": "nano"})
    with pytest.raises(ValueError, match="other options"):
        remember(workshop, {"dialect": "qwen3-vl"})


def test_the_files_are_written_and_hold_together(tmp_path: Path) -> None:
    workshop = Workshop(Few(), tmp_path)
    run(workshop, 6)
    words = finish(tmp_path, played(workshop, 6), 6)
    items = list(read(tmp_path))
    assert len(items) == 6
    assert words.startswith("6 trajectories")
    for item in items:
        assert all((tmp_path / image).is_file() for image in item.images)
    steps = (tmp_path / STEPS).read_text(encoding="utf-8").splitlines()
    assert len(steps) == sum(sum(item.learnt) for item in items)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert all(f"href='{items[0].images[0]}'" in page for _ in range(1))
    assert (tmp_path / "dataset_info.json").is_file()
    assert (tmp_path / CHOSEN).is_file()


def test_an_empty_folder_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(TrajectoriesMissing, match="synthesis make"):
        shards_of(tmp_path)


@dataclass(frozen=True)
class Sparse(Few):
    """Every other shard of it allows no request, or none does."""

    never: bool = False

    def shard(self, number: int) -> Sequence[Occasion]:
        empty = self.never or number % 2 == 0
        return [Occasion("empty", scene(), ())] if empty else super().shard(number)


def test_a_shard_of_which_nothing_passes_is_not_the_end(tmp_path: Path) -> None:
    assert run(Workshop(Sparse(shards=9), tmp_path), 6)[-1] >= 6


def test_a_source_that_never_has_anything_is_said_to(tmp_path: Path) -> None:
    with pytest.raises(TrajectoriesMissing, match="of 64 shards nothing passed"):
        run(Workshop(Sparse(never=True), tmp_path), 6)
