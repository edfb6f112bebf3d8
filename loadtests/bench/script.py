"""What is said in the episodes that are measured: pictures, requests, and moves that look like an agent's.

Every turn calls the segmenter and the last is ended by the turn budget, so that an episode of T turns has T mask
decodes, for which a loop without a cache encodes the picture T times.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from rsagent import examples, imaging
from rsagent.agent.actions import Segment
from rsagent.agent.state import EpisodeState
from rsagent.geometry import Box, Point
from rsagent.segmenter.protocol import Image
from rsagent.settings import ImageLimits

MEGAPIXEL = (1152, 896)
"""Width and height of the larger pictures."""

THOUGHTS = (
    "It should be this one, near the middle of the picture.",
    "The mask spills over to the left. A tighter box will do.",
    "Some of the background is in it. I take that away.",
    "A part is missing at the top. I add a point there.",
    "This is the wrong object. The one below it is meant.",
    "Better, but its shadow is not a part of it.",
    "I look at the whole of it once more, with more room.",
    "Nearly. One point inside, one outside, and it fits.",
)

BOXES: tuple[Box, ...] = (
    (0.20, 0.18, 0.85, 0.90),
    (0.28, 0.22, 0.72, 0.80),
    (0.28, 0.22, 0.72, 0.80),
    (0.28, 0.22, 0.72, 0.80),
    (0.10, 0.45, 0.60, 0.95),
    (0.10, 0.45, 0.60, 0.95),
    (0.05, 0.35, 0.75, 0.98),
    (0.05, 0.35, 0.75, 0.98),
)
"""Of each turn, as shares of the picture."""


TWINS = 1_000_000
"""Episodes whose numbers differ by a multiple of it are twins: the same words and moves, over pictures that are moved
by a pixel for each twin, so that what a cache keeps of the one is of no use to the other."""


def picture(number: int, *, megapixel: bool = False) -> bytes:
    """The JPEG of episode `number`: a shipped example, rolled so that no two episodes share a picture.

    Episodes that did would also share what the caches keep, which nobody promised them.
    """
    twin, number = divmod(number, TWINS)
    pixels = np.roll(_example(number % 8), (29 * number % 480, (37 * number + twin) % 640), axis=(0, 1))
    if megapixel:
        pixels = np.asarray(cv2.resize(pixels, MEGAPIXEL, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    return imaging.encode_jpeg(pixels, quality=90)


def query(number: int) -> str:
    """What is asked in episode `number`."""
    number %= TWINS
    sentences = examples.load()[number % 8].sentences
    return sentences[number // 8 % len(sentences)]


def move(number: int, state: EpisodeState) -> tuple[str, Segment]:
    """The thought and the call of the next turn: boxes, and after some of them points that refine the mask.

    Moved by a little from episode to episode; no turn repeats an earlier one, which would be answered without work.
    """
    number, turn = number % TWINS, len(state.turns)
    kind, again = turn % len(BOXES), turn // len(BOXES)
    width, height = state.task.width, state.task.height
    shift = 0.01 * (number % 10) + 0.003 * again
    x1, y1, x2, y2 = (share + shift for share in BOXES[kind])
    box = (x1 * width, y1 * height, min(x2, 1) * width, min(y2, 1) * height)
    inside = Point((x1 + x2) / 2 * width, (y1 + y2) / 2 * height, positive=True)
    outside = Point(box[0] + 4, box[1] + 4, positive=False)
    latest = len(state.masks)
    moves = {
        2: Segment(bbox=box, points=(outside,), base_mask=latest),
        3: Segment(points=(inside, outside), base_mask=latest),
        5: Segment(bbox=box, points=(inside,), base_mask=latest),
        7: Segment(bbox=box, points=(inside, outside), base_mask=latest),
    }
    return THOUGHTS[kind], moves.get(kind, Segment(bbox=box))


@cache
def _example(place: int) -> Image:
    return imaging.decode(examples.load()[place].path.read_bytes(), ImageLimits())
