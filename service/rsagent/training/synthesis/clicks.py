"""Where to click to correct a mask: deep inside the larger of its two errors.

The rule is that of interactive segmentation's simulated users (Xu et al., arXiv 1603.04042, and SAM's training): the
peak of the distance transform of what is missing or of what is too much, whichever lies deeper.
"""

from __future__ import annotations

import cv2
import numpy as np

from rsagent.geometry import Point
from rsagent.segmenter.protocol import Mask

THIN = 2.0
"""Pixels: an error nowhere deeper than this is a matter of the outline, which a click does not mend."""


def deepest(error: Mask) -> tuple[float, float, float]:
    """x and y of the middle of the pixel of a bool [H, W] error that lies farthest from its border (that of the
    picture counts, too), and how far: 0 where there is no error."""
    if not error.any():
        return 0.0, 0.0, 0.0
    padded = np.pad(error, 1).astype(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    row, column = divmod(int(depth.argmax()), depth.shape[1])
    return column + 0.5, row + 0.5, float(depth[row, column])


def correction(found: Mask, truth: Mask) -> Point | None:
    """The click that says most: positive in what `found` misses, negative in what it has too much; None where both
    errors are thin. Masks are bool [H, W] of one size; the point is in their pixels."""
    missing, extra = deepest(truth & ~found), deepest(found & ~truth)
    x, y, depth = max(missing, extra, key=lambda peak: peak[2])
    return None if depth <= THIN else Point(x, y, positive=missing[2] >= extra[2])
