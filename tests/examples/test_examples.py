"""The example pictures load, are small, and have something to ask."""

from __future__ import annotations

from PIL import Image

from rsagent import examples


def test_examples_are_small_pictures_with_sentences() -> None:
    loaded = examples.load()
    assert len(loaded) == 8
    assert len({example.name for example in loaded}) == 8
    for example in loaded:
        assert example.path.stat().st_size < 150_000
        assert 1 <= len(example.sentences) <= 2
        with Image.open(example.path) as picture:
            assert (picture.format, picture.size) == ("JPEG", (640, 480))


def test_every_picture_is_credited() -> None:
    credits = (examples.FOLDER / "CREDITS.md").read_text(encoding="utf-8")
    assert all(example.path.name in credits for example in examples.load())
