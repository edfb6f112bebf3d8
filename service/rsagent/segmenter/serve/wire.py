"""What goes between the client and a replica. Plain values: a refusal is an answer, not an exception of Ray's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsagent.errors import RSAgentError, SegmenterError
from rsagent.segmenter.protocol import ImageId, Logits, Mask, MaskCandidate, Prompt, SegmentResult


class ReplicaLost(SegmenterError):
    """The replica died before it answered; another one will."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A prompt on an image. `seconds` is what is left of the deadline, None without one: the clocks of two machines
    cannot be compared."""

    image_id: ImageId
    prompt: Prompt
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class NeedImage:
    """The replica does not know the image: ask again, with its pixels."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An error of ours, to be raised by the client."""

    error: RSAgentError


@dataclass(frozen=True, slots=True)
class Answer:
    """A `SegmentResult` whose mask is packed, a bit a pixel; `height` and `width` are those of the image."""

    height: int
    width: int
    bits: bytes
    logits: Logits
    score: float
    encoded: bool
    encode_ms: float
    decode_ms: float
    batch_size: int

    @classmethod
    def of(cls, result: SegmentResult) -> Answer:
        """Pack a result: milliseconds for a large picture, so not on an event loop."""
        height, width = result.best.mask.shape
        return cls(
            height,
            width,
            np.packbits(result.best.mask).tobytes(),
            result.best.logits,
            result.best.score,
            result.encoded,
            result.encode_ms,
            result.decode_ms,
            result.batch_size,
        )

    def result(self) -> SegmentResult:
        """What was packed, bit by bit: milliseconds for a large picture, so not on an event loop."""
        return SegmentResult(
            MaskCandidate(self._mask(), self.logits, self.score),
            self.encoded,
            self.encode_ms,
            self.decode_ms,
            self.batch_size,
        )

    def _mask(self) -> Mask:
        bits = np.unpackbits(np.frombuffer(self.bits, np.uint8), count=self.height * self.width)
        return bits.view(np.bool_).reshape(self.height, self.width)


Reply = Answer | NeedImage | Refused


@dataclass(frozen=True, slots=True)
class Standing:
    """What a replica says of itself: the variant it runs, whether it takes prompts, and how many it has under way."""

    variant: str
    ready: bool
    calls: int = 0
