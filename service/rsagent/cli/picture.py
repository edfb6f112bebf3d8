"""Pictures where people look: in the terminal."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.style import Style
from rich.text import Text

Pixels = NDArray[np.uint8]


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


def _colour(pixel: NDArray[np.uint8]) -> Color:
    red, green, blue = (int(channel) for channel in pixel)
    return Color.from_rgb(red, green, blue)
