"""A contact sheet of scenes, with masks outlined and names written, to judge the world by eye."""

from __future__ import annotations

import cv2
import numpy as np

from rsagent.training.world.scene import Scene
from rsagent.training.world.stock import Pixels

COLOURS = ((255, 60, 60), (60, 220, 60), (70, 120, 255), (255, 210, 0), (255, 0, 255), (0, 230, 230), (255, 140, 0))
FONT = cv2.FONT_HERSHEY_SIMPLEX
LINE = 14


def tile(scene: Scene, lines: tuple[str, ...]) -> Pixels:
    """A scene with masks outlined and boxes drawn, and lines of text under it, uint8 [h, w, 3]."""
    picture = scene.image.copy()
    for number, placed in enumerate(scene.objects):
        colour = COLOURS[number % len(COLOURS)]
        edges, _ = cv2.findContours(placed.mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, edges, -1, colour, 1)
        x1, y1, x2, y2 = (int(v) for v in placed.box)
        cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), colour, 1)
        cv2.putText(picture, placed.name, (x1 + 2, y1 + 10), FONT, 0.35, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(picture, placed.name, (x1 + 2, y1 + 10), FONT, 0.35, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([picture, _caption(lines, picture.shape[1])])


def _caption(lines: tuple[str, ...], width: int) -> Pixels:
    strip = np.full((LINE * len(lines) + 4, width, 3), 255, np.uint8)
    for row, line in enumerate(lines):
        cv2.putText(strip, line, (3, LINE * (row + 1) - 3), FONT, 0.36, (0, 0, 0), 1, cv2.LINE_AA)
    return strip


def contact(tiles: list[Pixels], columns: int) -> Pixels:
    """Tiles of one size in rows, the last row filled with white."""
    blank = [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    filled = [*tiles, *blank]
    return np.vstack([np.hstack(filled[i : i + columns]) for i in range(0, len(filled), columns)])
