from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.datasets.making import HEIGHT, WIDTH, labelme, shape

from rsagent.evaluation.datasets import DatasetError, reasonseg

SQUARE = ((10.0, 5.0), (19.9, 5.0), (19.9, 14.9), (10.0, 14.9))
INNER = ((12.0, 8.0), (14.0, 8.0), (14.0, 10.0), (12.0, 10.0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    val = tmp_path / "ReasonSeg" / "val"
    labelme(val, "2_b", [shape("target", *SQUARE)], ["what one sits on", "another way to say it"])
    ignored = [shape("ignore", *INNER), shape("target", *SQUARE), shape("flag", (0, 0), (39, 0), (39, 29))]
    labelme(val, "1_a", ignored, ["the chair"], sentence=False)
    return tmp_path / "ReasonSeg"


def test_the_first_text_of_each_picture_in_order_of_names(folder: Path) -> None:
    samples = reasonseg(folder, "val")
    assert [(one.id, one.query, one.kind) for one in samples] == [
        ("1_a", "the chair", "phrase"),
        ("2_b", "what one sits on", "sentence"),
    ]
    assert [one.id for one in reasonseg(folder / "val", "val")] == ["1_a", "2_b"]


def test_all_texts_by_flag(folder: Path) -> None:
    assert [one.id for one in reasonseg(folder, "val", texts="all")] == ["1_a#0", "2_b#0", "2_b#1"]


def test_polygons_are_filled_with_their_outline(folder: Path) -> None:
    loaded = reasonseg(folder, "val")[1].load()
    truth = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    truth[5:15, 10:20] = True
    assert loaded.image.shape == (HEIGHT, WIDTH, 3)
    assert np.array_equal(loaded.truth, truth)
    assert loaded.ignore is None


@pytest.mark.parametrize(
    ("ignore", "left_out", "area"), [("exclude", 9, 91), ("target", 0, 100), ("background", 0, 91)]
)
def test_ignored_regions_are_what_the_flag_says(folder: Path, ignore: str, left_out: int, area: int) -> None:
    loaded = reasonseg(folder, "val", ignore=ignore)[0].load()  # type: ignore[arg-type]
    assert int(loaded.truth.sum()) == area
    assert (0 if loaded.ignore is None else int(loaded.ignore.sum())) == left_out


def test_larger_shapes_are_drawn_first_whatever_their_order(tmp_path: Path) -> None:
    around = shape("ignore: unclear", (0, 0), (39, 0), (39, 29), (0, 29))
    for name, shapes in (("a", [shape("target", *INNER), around]), ("b", [around, shape("target", *INNER)])):
        labelme(tmp_path / "val", name, shapes, "the button")
    for one in reasonseg(tmp_path, "val"):
        loaded = one.load()
        assert loaded.ignore is not None
        assert (int(loaded.truth.sum()), int(loaded.ignore.sum())) == (9, HEIGHT * WIDTH - 9)


def test_a_picture_on_which_nothing_is_meant(tmp_path: Path) -> None:
    labelme(tmp_path / "val", "a", [], ["the unicorn"])
    assert reasonseg(tmp_path, "val")[0].load().targets == ()


def test_annotations_in_windows_1252_are_read(tmp_path: Path) -> None:
    labelme(tmp_path / "val", "a", [shape("target", *SQUARE)], ["PLACE"])
    path = tmp_path / "val" / "a.json"
    path.write_bytes(path.read_bytes().replace(b"PLACE", "caf\u00e9\u2019s sign".encode("cp1252")))
    assert reasonseg(tmp_path, "val")[0].query == "caf\u00e9\u2019s sign"


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no folder.*name ReasonSeg"):
        reasonseg(tmp_path / "nowhere", "val")
    with pytest.raises(DatasetError, match=r"no annotations.*folders here: val"):
        reasonseg(folder, "test")
    (folder / "val" / "2_b.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 of 2 files are missing .*2_b\.jpg.*unpack all of ReasonSeg"):
        reasonseg(folder, "val")


@pytest.mark.parametrize("content", ["{", "[]", '{"text": [], "is_sentence": true, "shapes": []}', '{"text": ["x"]}'])
def test_a_broken_annotation_is_named(folder: Path, content: str) -> None:
    (folder / "val" / "1_a.json").write_text(content)
    with pytest.raises(DatasetError, match=r"1_a\.json"):
        reasonseg(folder, "val")


def test_a_broken_picture_is_named(folder: Path) -> None:
    (folder / "val" / "1_a.jpg").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"1_a\.jpg: this is no picture"):
        reasonseg(folder, "val")[0].load()
