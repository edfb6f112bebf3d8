"""A contact sheet of scenes and requests, with the meant objects marked, to judge the world by eye."""

from __future__ import annotations

import textwrap

import cv2
import numpy as np

from rsagent.training.world.combinations import Combinations
from rsagent.training.world.requests import Kind, Request, requests
from rsagent.training.world.scene import Scene, World
from rsagent.training.world.situations import Situation, recipe, shows
from rsagent.training.world.stock import Pixels

GREEN = (0, 255, 0)
GREY = (200, 200, 200)
FONT = cv2.FONT_HERSHEY_SIMPLEX
LINE = 15
LINES = 4
TRIES = 60


def example(
    world: World, situation: Situation, kind: Kind, size: tuple[int, int], pairs: Combinations = "any", first: int = 0
) -> Pixels | None:
    """A tile with the first request of a kind about what the situation was made for; None where none is found soon."""
    made = recipe(situation, size, pairs)
    for seed in range(first, first + TRIES):
        scene = world.scene(seed, made)
        for request in requests(scene, world, seed, (kind,), each=8):
            if shows(situation, scene, request) or not request.targets:
                return tile(scene, request, f"{situation} / {kind}")
    return None


def tile(scene: Scene, request: Request, title: str) -> Pixels:
    """A scene with the targets filled in green and all else outlined; title, request and targets under it, uint8
    [h, w, 3]."""
    picture = scene.image.copy()
    for number, placed in enumerate(scene.objects):
        meant = number in request.targets
        edges, _ = cv2.findContours(placed.mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        if meant:
            picture[placed.mask] = (0.6 * picture[placed.mask] + 0.4 * np.array(GREEN)).astype(np.uint8)
        cv2.drawContours(picture, edges, -1, GREEN if meant else GREY, 2 if meant else 1)
        x, y = int(placed.box[0]) + 2, int(placed.box[1]) + 11
        cv2.putText(picture, placed.name, (x, y), FONT, 0.38, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(picture, placed.name, (x, y), FONT, 0.38, (255, 255, 255), 1, cv2.LINE_AA)
    wrapped = textwrap.wrap(request.text, max(10, picture.shape[1] // 7))[: LINES - 1]
    return np.vstack([picture, _caption((title, *wrapped, *[""] * (LINES - 1 - len(wrapped))), picture.shape[1])])


def _caption(lines: tuple[str, ...], width: int) -> Pixels:
    strip = np.full((LINE * len(lines) + 6, width, 3), 255, np.uint8)
    for row, line in enumerate(lines):
        colour = (130, 130, 130) if row == 0 else (0, 0, 0)
        cv2.putText(strip, line, (3, LINE * (row + 1) - 3), FONT, 0.42, colour, 1, cv2.LINE_AA)
    return strip


def contact(tiles: list[Pixels], columns: int) -> Pixels:
    """Tiles of one size in rows, the last row filled with white. Raises ValueError where there is none."""
    if not tiles:
        raise ValueError("no scene allows such a request: choose other kinds or situations")
    blank = [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    filled = [*tiles, *blank]
    return np.vstack([np.hstack(filled[i : i + columns]) for i in range(0, len(filled), columns)])
