"""Pictures for the policy: views of frames and masks drawn over them, at the policy's input resolution only."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
from numpy.typing import NDArray

from rsagent.geometry import Frame
from rsagent.policy.protocol import ImagePart
from rsagent.segmenter.protocol import Mask

Pixels = NDArray[np.uint8]

GREEN = (0, 255, 0)
ALPHA = 0.45
"""Opacity of a mask's fill; field habit is 0.4–0.5, so that what lies under it can still be recognised."""


def view(image: Pixels, frame: Frame) -> ImagePart:
    """The frame's crop of `image` (uint8 [H, W, 3] RGB) at the frame's view size."""
    x1, y1, x2, y2 = frame.box
    return part(_resized(image[y1:y2, x1:x2], frame.view))


def overlay(base: Pixels, mask: Mask, frame: Frame) -> ImagePart:
    """`mask` (bool [H, W] of the whole image) in green, filled and outlined, over the frame's view `base`
    (uint8 [h, w, 3]). A mask outside the frame leaves the view as it is."""
    x1, y1, x2, y2 = frame.box
    # Bilinear, not area: of a mask's 0s and 1s it rounds to the nearest just as well, without reading every pixel.
    shown = cv2.resize(mask[y1:y2, x1:x2].view(np.uint8), frame.view, interpolation=cv2.INTER_LINEAR)
    return part(tint(base, shown.astype(np.bool_)))


def tint(base: Pixels, shown: Mask) -> Pixels:
    """`base` (uint8 [h, w, 3]) with the pixels of `shown` (bool [h, w]) blended towards green and outlined."""
    painted = base.copy()
    region = _bounds(shown)
    if region is None:
        return painted
    inside = shown[region].view(np.uint8)
    patch = painted[region]
    green = np.empty_like(patch)
    green[:] = GREEN
    cv2.copyTo(cv2.addWeighted(patch, 1 - ALPHA, green, ALPHA, 0), inside, patch)
    edge = inside - cv2.erode(inside, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    cv2.copyTo(green, edge, patch)
    return painted


def part(pixels: Pixels) -> ImagePart:
    """An image part named by the hash of its shape and pixels."""
    fixed = np.ascontiguousarray(pixels)
    digest = hashlib.sha256(f"{fixed.shape}".encode())
    digest.update(fixed.data)
    return ImagePart(digest.hexdigest()[:32], fixed)


def _resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    shrinks = size[0] * size[1] < width * height
    resized = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8)


def _bounds(shown: Mask) -> tuple[slice, slice] | None:
    columns, rows = np.flatnonzero(shown.any(0)), np.flatnonzero(shown.any(1))
    if not len(rows):
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
