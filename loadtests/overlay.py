"""Milliseconds that drawing one overlay takes, at several view sizes."""

from __future__ import annotations

import time

import cv2
import numpy as np

from rsagent.agent import render
from rsagent.geometry import Frame

VIEWS = {"nano, 224 × 224": (224, 224), "1 MP, 1024 × 1024": (1024, 1024)}
ROUNDS = 100


def measure() -> dict[str, dict[str, float]]:
    """Overlay milliseconds (median and 95th percentile) on a 12 MP picture with a mask over a third of it: crop and
    resize the mask, blend, outline, and hash the result, on one thread."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    mask = np.zeros((3000, 4000), dtype=np.bool_)
    rows, columns = np.ogrid[:3000, :4000]
    mask[((rows - 1500) / 1000) ** 2 + ((columns - 2000) / 1300) ** 2 < 1] = True
    return {name: _time(mask, view, rng) for name, view in VIEWS.items()}


def _time(mask: np.ndarray, view: tuple[int, int], rng: np.random.Generator) -> dict[str, float]:
    base = rng.integers(0, 256, (view[1], view[0], 3), dtype=np.uint8)
    frame = Frame(0, (0, 0, mask.shape[1], mask.shape[0]), view)
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        render.overlay(base, mask, frame)
        taken.append((time.perf_counter() - started) * 1000)
    return {"p50_ms": float(np.percentile(taken, 50)), "p95_ms": float(np.percentile(taken, 95))}
