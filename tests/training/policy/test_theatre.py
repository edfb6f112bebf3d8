from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.policy.stages import request, scene, scribe

from rsagent.training.policy.play import play
from rsagent.training.policy.theatre import performances, restored, stored


def test_a_lesson_is_kept_without_code_and_comes_back_whole(tmp_path: Path) -> None:
    lesson = play(scribe(), scene(), request(2), 8, np.random.default_rng(0))
    torch.save([stored(lesson)], tmp_path / "one.pt")
    again = restored(torch.load(tmp_path / "one.pt", weights_only=True)[0])
    assert torch.equal(again.ids, lesson.ids)
    assert all(np.array_equal(*pair) for pair in zip(again.pictures, lesson.pictures, strict=True))
    for mine, theirs in zip(again.gazes, lesson.gazes, strict=True):
        assert (mine.start, mine.stop, mine.picture) == (theirs.start, theirs.stop, theirs.picture)
        assert torch.equal(mine.cells, theirs.cells)


def test_lessons_come_in_batches_of_like_length(tmp_path: Path) -> None:
    played = [play(scribe(), scene(), request(2), turns, np.random.default_rng(turns)) for turns in (1, 2, 6, 8)]
    torch.save([stored(lesson) for lesson in played], tmp_path / "0000.pt")
    batches = performances(tmp_path, 2, 0)
    first, second = next(batches), next(batches)
    assert sorted(len(x.ids) for x in first + second) == sorted(len(x.ids) for x in played)


def test_without_episodes_the_command_that_makes_them_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="policy play"):
        next(performances(tmp_path, 2, 0))
