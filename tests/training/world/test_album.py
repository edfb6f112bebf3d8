"""What the example pictures show is what their sentences speak of."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from tests.training.material import opened

from rsagent import examples
from rsagent.training.world import World, album
from rsagent.training.world.knowledge import facts
from rsagent.training.world.names import clashes, entries


@pytest.fixture(scope="module")
def world() -> World:
    return opened("test")


@pytest.mark.parametrize("page", album.PAGES, ids=lambda page: page.name)
def test_the_whole_cast_is_on_the_picture_and_told_apart(page: album.Page, world: World) -> None:
    scene = album.scene(page, world)
    assert tuple(placed.name for placed in scene.objects) == page.cast
    ids = {placed.name_id for placed in scene.objects}
    assert not any(clashes()[i] & ids for i in ids)
    assert not ids & world.in_the_ground(page.seed)


def test_reasoning_sentences_are_facts_about_one_of_the_cast() -> None:
    known = {fact.text: fact for told in facts().values() for fact in told}
    meant = [(page, known[s]) for page in album.PAGES for s in page.sentences if s in known]
    assert len(meant) == 6
    assert all(fact.true_of & set(page.cast) == {fact.name} for page, fact in meant)


def test_the_absent_thing_is_absent() -> None:
    assert album.PAGES[-1].sentences[-1] == "the banana"
    assert "banana" not in album.PAGES[-1].cast
    assert "banana" in {entry.name for entry in entries()}


def test_the_album_in_the_package_is_the_one_the_maker_makes(world: World, tmp_path: Path) -> None:
    album.make(tmp_path)
    for name in ("examples.json", "CREDITS.md"):
        assert (tmp_path / name).read_text() == (examples.FOLDER / name).read_text()
    for example in examples.load():
        kept, made = cv2.imread(str(example.path)), cv2.imread(str(tmp_path / example.path.name))
        assert kept is not None
        assert made is not None
        assert abs(kept.astype(int) - made.astype(int)).mean() < 3
