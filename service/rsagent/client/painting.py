"""Masks drawn over a picture, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

COLOURS = ((0, 220, 90), (255, 90, 60), (70, 140, 255), (255, 200, 0), (200, 80, 255), (0, 210, 220))
"""One for each object in turn, RGB."""


def paint(image: Pixels, masks: Sequence[NDArray[np.bool_]], alpha: float = 0.5) -> Pixels:
    """`image` (uint8 [H, W, 3]) with each mask (bool [H, W]) filled in a colour of its own and outlined."""
    painted = image.copy()
    thickness = max(1, round(max(image.shape[:2]) / 400))
    for index, mask in enumerate(masks):
        colour = COLOURS[index % len(COLOURS)]
        blended = (1 - alpha) * painted[mask] + alpha * np.array(colour)
        painted[mask] = blended.astype(np.uint8)
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(painted, outlines, -1, colour, thickness)
    return painted
