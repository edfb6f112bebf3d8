"""Small pictures for the page of a report: what was meant, and what each turn asked for and got."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from rsagent import imaging
from rsagent.api.answers import ActionDocument, SegmentAction, ZoomAction
from rsagent.segmenter.protocol import Box, Mask

Pixels = NDArray[np.uint8]
WIDTH = 220
"""Pixels across."""
HALF = 127
LEAST = 8
"""The smallest crop, in pixels of the picture."""
TRUTH, MASK, CALL, ADDS, TAKES = (255, 0, 190), (40, 200, 80), (60, 130, 255), (0, 230, 0), (240, 40, 40)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A part of a picture, brought to `WIDTH`. `box` is x1, y1, x2, y2 in pixels of the picture."""

    image: Pixels = field(repr=False)
    box: tuple[int, int, int, int]

    @classmethod
    def of(cls, image: Pixels, box: Box | None = None) -> View:
        """The part of `image` (uint8 [H, W, 3] RGB) in `box`, or all of it."""
        height, width = image.shape[:2]
        x1, y1, x2, y2 = (round(side) for side in box or (0, 0, width, height))
        x1, y1 = min(max(x1, 0), max(width - LEAST, 0)), min(max(y1, 0), max(height - LEAST, 0))
        return cls(image, (x1, y1, max(min(x2, width), x1 + LEAST), max(min(y2, height), y1 + LEAST)))

    @property
    def scale(self) -> float:
        return WIDTH / (self.box[2] - self.box[0])

    def pixels(self) -> Pixels:
        """uint8 [h, WIDTH, 3]."""
        return self._brought(self.image).copy()

    def mask(self, mask: Mask) -> Mask:
        """bool [h, WIDTH] of a mask of the picture."""
        return self._brought(mask.astype(np.uint8) * np.uint8(255)) > HALF

    def point(self, x: float, y: float) -> tuple[int, int]:
        """Where a point of the picture is."""
        return round((x - self.box[0]) * self.scale), round((y - self.box[1]) * self.scale)

    def _brought(self, pixels: Pixels) -> Pixels:
        x1, y1, x2, y2 = self.box
        part = np.ascontiguousarray(pixels[y1:y2, x1:x2])
        size = (WIDTH, max(1, round(part.shape[0] * self.scale)))
        how = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(part, size, interpolation=how), dtype=np.uint8)


def truth(image: Pixels, targets: Mask, ignore: Mask | None) -> str:
    """The picture with what is meant outlined, and what is left out darkened, as a data URL."""
    view = View.of(image)
    canvas = view.pixels()
    if ignore is not None:
        canvas[view.mask(ignore)] //= 3
    _outline(canvas, view.mask(targets), TRUTH, 2)
    return url(canvas)


def turn(view: View, targets: Mask, action: ActionDocument | None, mask: Mask | None) -> str:
    """A turn in its frame: the mask it got (green), its box and points (blue; green adds, red takes away), and the
    outline of what is meant (magenta), as a data URL."""
    canvas = view.pixels()
    if mask is not None:
        inside = view.mask(mask)
        canvas[inside] = (0.5 * canvas[inside] + 0.5 * np.array(MASK)).astype(np.uint8)
        _outline(canvas, inside, MASK, 1)
    _outline(canvas, view.mask(targets), TRUTH, 1)
    if isinstance(action, SegmentAction | ZoomAction) and action.bbox is not None:
        x1, y1, x2, y2 = action.bbox
        cv2.rectangle(canvas, view.point(x1, y1), view.point(x2, y2), CALL, 2)
    for x, y, label in action.points if isinstance(action, SegmentAction) else ():
        cv2.circle(canvas, view.point(x, y), 5, (255, 255, 255), -1)
        cv2.circle(canvas, view.point(x, y), 4, ADDS if label else TAKES, -1)
    return url(canvas)


def url(pixels: Pixels) -> str:
    """uint8 [h, w, 3] RGB as a JPEG in a data URL."""
    return "data:image/jpeg;base64," + base64.b64encode(imaging.encode_jpeg(pixels, 80)).decode("ascii")


def _outline(canvas: Pixels, mask: Mask, colour: tuple[int, int, int], thickness: int) -> None:
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, outlines, -1, colour, thickness)
