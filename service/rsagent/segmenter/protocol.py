"""What the rest of RSAgent asks of a segmenter: one image, one prompt, a mask back.

State is returned, never held: a follow-up prompt carries the low-resolution logits of the mask it refines.  The only
thing an implementation may keep is a cache of image embeddings, keyed by the image's content.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rsagent.deadline import Deadline

ImageId = str
"""sha256 (hex) of an image's shape and pixels: equal ids mean equal pixels, across processes and machines."""

Image = npt.NDArray[np.uint8]
"""uint8 [H, W, 3], RGB."""

Mask = npt.NDArray[np.bool_]
"""bool [H, W] in original-image pixels."""

Logits = npt.NDArray[np.float32]
"""float32 [h, w]: low-resolution mask logits over the padded square input of the model; above 0 is inside."""

Point = tuple[float, float, int]
"""(x, y, label): original-image pixels; label 1 is inside the object, 0 outside."""

Box = tuple[float, float, float, float]
"""(x1, y1, x2, y2): original-image pixels."""


def image_id(image: Image) -> ImageId:
    """The content id of an image: sha256 over its shape and its bytes, 64 hex digits."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Prompt:
    """Where the object is: a box, points, an earlier mask of the same image, or any of them together."""

    box: Box | None = None
    points: tuple[Point, ...] = ()
    base_logits: Logits | None = None


@dataclass(frozen=True)
class MaskCandidate:
    """A mask at the image's own size.  `score` is the model's own estimate of its IoU."""

    mask: Mask
    logits: Logits
    score: float


@dataclass(frozen=True)
class SegmentResult:
    """The best mask, and what it cost. What it was chosen from stays where it was decoded (`core.Decoded`)."""

    best: MaskCandidate
    encoded: bool
    encode_ms: float
    decode_ms: float
    batch_size: int


class Segmenter(Protocol):
    """Turns prompts into masks.  Safe to call from many tasks at once."""

    @property
    def variant(self) -> str:
        """Name of the model behind it, as in the registry: `nano`, `vit_b`, …"""
        ...

    async def segment(
        self,
        image_id: ImageId,
        image: Image | Callable[[], Image],
        prompt: Prompt,
        deadline: Deadline | None = None,
    ) -> SegmentResult:
        """Segment what `prompt` points at in the image called `image_id`.

        `image` may be a function: it is only called where the embedding is not at hand, and then off the event loop.
        Raises `rsagent.errors.Overloaded` when the queue is full, and `rsagent.errors.DeadlineExceeded` when the time
        is up before an answer; cancelling the call withdraws it.
        """
        ...

    async def ready(self) -> bool:
        """Whether a prompt would be answered now."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, refuse the rest, free the model."""
        ...
