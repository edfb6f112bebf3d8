"""Milliseconds that drawing one overlay takes, at several view sizes."""

from __future__ import annotations

import time

import cv2
import numpy as np

from rsagent.agent import render
from rsagent.geometry import Frame, Size

CASES = {
    "1 MP picture, nano view 224 × 224": ((1024, 1024), (224, 224)),
    "1 MP picture, 1 MP view": ((1024, 1024), (1024, 1024)),
    "12 MP picture, 1 MP view": ((4000, 3000), (1152, 864)),
}
"""Width and height of the picture and of the policy's view."""
ROUNDS = 100


def measure() -> dict[str, dict[str, float]]:
    """Overlay milliseconds (median and 95th percentile) for a mask over a third of a picture: resize the mask,
    blend, outline, and hash the result, on one thread."""
    cv2.setNumThreads(1)
    return {name: _time(picture, view) for name, (picture, view) in CASES.items()}


def _time(picture: Size, view: Size) -> dict[str, float]:
    width, height = picture
    rows, columns = np.ogrid[:height, :width]
    mask = ((rows / height - 0.5) / 0.33) ** 2 + ((columns / width - 0.5) / 0.33) ** 2 < 1
    base = np.random.default_rng(0).integers(0, 256, (view[1], view[0], 3), dtype=np.uint8)
    frame = Frame(0, (0, 0, width, height), view)
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        render.overlay(base, mask, frame)
        taken.append((time.perf_counter() - started) * 1000)
    return {"p50_ms": float(np.percentile(taken, 50)), "p95_ms": float(np.percentile(taken, 95))}
