"""The files that trainers read, written from what was played."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rsagent.training.synthesis.choosing import choose, composition
from rsagent.training.synthesis.records import CHOSEN, STEPS, Trajectory, dataset_info, learnt_turns, write
from rsagent.training.synthesis.viewer import page, some_of_each

SHOWN = 2


def finish(folder: Path, items: Sequence[Trajectory], count: int, shown: int = SHOWN) -> str:
    """Choose `count` of the trajectories and write all files beside their pictures; the composition in words."""
    chosen = choose(items, count)
    write(folder / CHOSEN, chosen)
    write(folder / STEPS, (turn for item in chosen for turn in learnt_turns(item)))
    (folder / "dataset_info.json").write_text(json.dumps(dataset_info(), indent=1) + "\n", encoding="utf-8")
    words = composition(chosen)
    (folder / "composition.md").write_text(words, encoding="utf-8")
    page(folder, some_of_each(chosen, shown), words)
    return words
