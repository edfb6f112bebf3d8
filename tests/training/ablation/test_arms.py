"""Which rows there are, and the commands that make them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsagent.training.ablation.arms import CORRECTIONS, Setting, arms
from rsagent.training.synthesis.choosing import SHARES

FOLDER = Path("all")


def test_from_an_sft_checkpoint_rl_and_each_reward_left_out() -> None:
    rows = arms(Setting(FOLDER, sft="some/sft", reinforcing=("--steps", "7"), rewards=("iou", "stop")))
    assert [(row.name, row.over) for row in rows] == [
        ("SFT", ""),
        ("SFT + RL", "SFT"),
        ("SFT + RL, without iou", "SFT + RL"),
        ("SFT + RL, without stop", "SFT + RL"),
    ]
    assert rows[0].trains == ()
    assert rows[0].checkpoint == "some/sft"
    for row in rows[1:]:
        assert row.trains[:2] == ("rsagent.training.rl", "run")
        assert row.trains[3:7] == ("--checkpoint", "some/sft", "--steps", "7")
    assert rows[3].trains[-2:] == ("--without", "stop")
    assert len({row.folder for row in rows}) == len(rows)


def test_from_a_base_sft_with_and_without_corrections() -> None:
    rows = arms(Setting(FOLDER, base="base", trajectories=Path("data"), tuning=("--lr", "1e-4")))
    assert [row.name for row in rows] == ["prompt-only", "SFT, no self-correction", "SFT", "SFT + RL"]
    plain, full, better = rows[1:]
    assert [word for word in plain.trains if word not in full.trains and word != "--without"] == [
        plain.trains[2],
        *CORRECTIONS,
    ]
    assert full.checkpoint in better.trains


def test_without_a_start_there_is_no_table() -> None:
    with pytest.raises(ValueError, match="--sft"):
        arms(Setting(FOLDER, base="base"))


def test_corrections_are_shapes_that_are_chosen() -> None:
    assert set(CORRECTIONS) <= set(SHARES)
