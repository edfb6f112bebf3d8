"""Material: missing packages are named, splits are disjoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsagent.training.world import MaterialMissing
from rsagent.training.world.names import entries
from rsagent.training.world.stock import default_cache, find, grounds


def test_missing_material_names_the_packages() -> None:
    with pytest.raises(MaterialMissing, match="apt-get install tuxpaint-stamps-default"):
        find("tuxpaint/stamps/no/such.png")


def test_the_cache_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RSAGENT_WORLD_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("RSAGENT_WORLD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "rsagent" / "world"


def test_every_picture_belongs_to_one_split_and_shows_known_names() -> None:
    assert len({ground.path for ground in grounds()}) == len(grounds())
    assert {ground.split for ground in grounds()} == {"train", "val", "test"}
    known = {entry.name for entry in entries()}
    assert {name for ground in grounds() for name in ground.shows} <= known
