"""Pieces made of parts: an outline that marks leave alone, and two pieces that become one."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.training.segmenter.stock import material

from rsagent.training.segmenter import material as gathering
from rsagent.training.segmenter import shapes
from rsagent.training.segmenter.pieces import drawn, joined, marked


def disc(colour: int, side: int = 60) -> np.ndarray:
    alpha = np.zeros((side, side), np.uint8)
    cv2.circle(alpha, (side // 2, side // 2), side // 2 - 2, 255, -1)
    return np.dstack([np.full((side, side, 3), colour, np.uint8), alpha])


@pytest.mark.parametrize("seed", range(20))
def test_an_object_is_rgba_and_shows_something(seed: int) -> None:
    made = material()
    piece = drawn(made, made.photos[0], np.random.default_rng(seed))
    assert piece.dtype == np.uint8
    assert piece.shape[2] == 4
    assert (piece[..., 3] > 128).any()


@pytest.mark.parametrize("seed", range(5))
def test_marks_change_colours_and_no_outline(seed: int) -> None:
    piece = disc(200)
    bearing = marked(piece, np.zeros((8, 8, 3), np.uint8), np.random.default_rng(seed))
    np.testing.assert_array_equal(bearing[..., 3], piece[..., 3])
    assert (bearing[..., :3] != piece[..., :3]).any()
    assert (piece[..., :3] == 200).all()


@pytest.mark.parametrize("seed", range(5))
def test_two_joined_pieces_are_one_connected_thing_of_both_colours(seed: int) -> None:
    whole = joined(disc(40), disc(220), np.random.default_rng(seed))
    solid = whole[..., 3] > 128
    count, _ = cv2.connectedComponents(solid.astype(np.uint8))
    assert count == 2
    assert solid.sum() >= (disc(40)[..., 3] > 128).sum() - 4
    assert {int(v) for v in np.unique(whole[solid][:, 0])} >= {40}


@pytest.mark.parametrize("seed", range(5))
def test_stripes_are_some_and_not_all(seed: int) -> None:
    assert 0.02 < (shapes.stripes(np.random.default_rng(seed)) > 0.5).mean() < 0.98


def test_figures_are_read_tight_and_flags_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "rsagent/node_modules/@lobehub/fluent-emoji-3d/assets"
    folder.mkdir(parents=True)
    page = np.zeros((100, 100, 4), np.uint8)
    page[20:80, 30:70] = 255
    for name in ("1f40e.webp", "1f1f4-1f1f2.webp"):
        cv2.imwrite(str(folder / name), page)
    monkeypatch.setattr(gathering, "data_dirs", lambda: (tmp_path,))
    (figure,) = gathering.figures()
    assert figure.shape == (60, 40, 4)
