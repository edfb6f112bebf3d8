"""What the segmenter's tests share: a SAM so small that a test may run it, and a core whose pace a test holds."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from rsagent.segmenter.architecture import Architecture, Sam, build
from rsagent.segmenter.core import Decoded, Embedding, InputFrame, LowResCandidate, SamCore
from rsagent.segmenter.protocol import Image, MaskCandidate, Prompt

TINY = Architecture(
    image_size=64,
    patch_size=8,
    width=32,
    depth=2,
    heads=2,
    global_blocks=(1,),
    window=4,
    prompt_width=32,
    decoder_mlp=64,
    decoder_heads=2,
)
TINY_PLAIN = replace(TINY, relative_positions=False)
TINY_NANO = replace(TINY_PLAIN, detailed=True, draw_boxes=True, smooth_decoder=True, box_prior=2.0)
"""With all that the packaged one has and SAM has not."""

PATIENCE = 20.0
"""Seconds until a test that waits for another thread gives up; nothing waits that long unless it hangs."""


def tiny_model(seed: int = 0, architecture: Architecture = TINY) -> Sam:
    torch.manual_seed(seed)
    model = build(architecture)
    with torch.no_grad():  # livelier than fresh weights, so that different prompts give different masks
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def picture(seed: int, height: int = 50, width: int = 80) -> Image:
    """Smooth colours and some noise: something for an encoder to tell apart."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 255, width)[None, :, None] * rng.random(3) + rng.normal(0, 20, (height, width, 3))
    return np.clip(ramp, 0, 255).astype(np.uint8)


class HeldCore(SamCore):
    """A core without a model. While `go` is not set, its calls wait on their thread.

    `encodes` counts encodes, `batches` keeps the prompts of each decode, as they start; `threads` who ran them. A
    prompt or image in `poison` raises what it is mapped to (images by their first value, prompts by their `x1`).
    """

    def __init__(self) -> None:
        self._device = torch.device("cpu")
        self.side = self.mask_side = 8
        self.go = threading.Event()
        self.go.set()
        self.encodes = 0
        self.batches: list[list[Prompt]] = []
        self.threads: set[str] = set()
        self.poison: dict[float, Exception] = {}

    def encode(self, image: Image) -> Embedding:
        self.encodes += 1
        self._wait()
        self._fail_on(float(image.flat[0]))
        return Embedding((torch.zeros(4, 2, 2),), InputFrame.of(image.shape[0], image.shape[1], self.side))

    def decode(self, requests: Sequence[tuple[Embedding, Prompt]]) -> list[Decoded]:
        self.batches.append([prompt for _, prompt in requests])
        self._wait()
        return [self._decoded(embedding, prompt) for embedding, prompt in requests]

    def _decoded(self, embedding: Embedding, prompt: Prompt) -> Decoded:
        assert prompt.box is not None
        self._fail_on(prompt.box[0])
        mask = np.zeros((embedding.frame.height, embedding.frame.width), np.bool_)
        candidate = LowResCandidate(np.full((8, 8), prompt.box[0], np.float32), 0.5)
        return Decoded(MaskCandidate(mask, candidate.logits, candidate.score), (candidate,))

    def _wait(self) -> None:
        self.threads.add(threading.current_thread().name)
        assert self.go.wait(PATIENCE), "the test never let the core go on"

    def _fail_on(self, value: float) -> None:
        if value in self.poison:
            raise self.poison[value]


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until another thread has made `condition` true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        await asyncio.sleep(0.001)


async def settle() -> None:
    """Let everything run that waits for nothing but the loop."""
    for _ in range(20):
        await asyncio.sleep(0)
