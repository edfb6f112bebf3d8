"""Pictures where people look: in the terminal, and the final overlay as a file."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.style import Style
from rich.text import Text

from rsagent.segmenter.protocol import Mask

Pixels = NDArray[np.uint8]

COLOURS = ((0, 220, 90), (255, 90, 60), (70, 140, 255), (255, 200, 0), (200, 80, 255), (0, 210, 220))
"""One for each object in turn, RGB."""


def blocks(pixels: Pixels, columns: int = 56) -> Text:
    """A picture (uint8 [h, w, 3] RGB) in half blocks: each character cell shows two pixels, one above the other."""
    height, width = pixels.shape[:2]
    rows = max(2, round(columns * height / width / 2) * 2)
    small = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA)
    text = Text(no_wrap=True)
    for upper, lower in zip(small[0::2], small[1::2], strict=True):
        for above, below in zip(upper, lower, strict=True):
            text.append("▀", Style(color=_colour(above), bgcolor=_colour(below)))
        text.append("\n")
    return text


def paint(image: Pixels, masks: Sequence[Mask], alpha: float = 0.5) -> Pixels:
    """`image` (uint8 [H, W, 3]) with each mask (bool [H, W]) filled in a colour of its own and outlined."""
    painted = image.copy()
    thickness = max(1, round(max(image.shape[:2]) / 400))
    for mask, colour in zip(masks, _endless(len(masks)), strict=True):
        blended = (1 - alpha) * painted[mask] + alpha * np.array(colour)
        painted[mask] = blended.astype(np.uint8)
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(painted, outlines, -1, colour, thickness)
    return painted


def _endless(count: int) -> list[tuple[int, int, int]]:
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def _colour(pixel: NDArray[np.uint8]) -> Color:
    red, green, blue = (int(channel) for channel in pixel)
    return Color.from_rgb(red, green, blue)
