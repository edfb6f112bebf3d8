"""What the tests of the policy's training share: a hand-made scene, a small tokenizer, a small model."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from rsagent.training.policy.export import fresh
from rsagent.training.policy.lessons import Scribe
from rsagent.training.policy.vocabulary import train_tokenizer
from rsagent.training.world.requests import Request
from rsagent.training.world.scene import Placed, Scene

SIDE = 448


def placed(name: str, number: int, box: tuple[int, int, int, int], side: int = SIDE) -> Placed:
    """A rectangle as an object."""
    mask = np.zeros((side, side), np.bool_)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return Placed(name, number, number, mask, tuple(float(edge) for edge in box))  # type: ignore[arg-type]


def scene() -> Scene:
    """A dog at the left, a cat at the right, a small key at the bottom."""
    image = np.full((SIDE, SIDE, 3), 90, np.uint8)
    objects = (
        placed("dog", 0, (40, 130, 160, 270)),
        placed("cat", 1, (280, 150, 400, 260)),
        placed("key", 2, (200, 380, 230, 400)),
    )
    for object_, colour in zip(objects, ((200, 30, 30), (30, 200, 30), (30, 30, 200)), strict=True):
        image[object_.mask] = colour
    return Scene(image, objects, 7)


def request(*targets: int, text: str = "find it", kind: str = "name") -> Request:
    names = [scene().objects[index].name for index in targets]
    return Request(text, kind, targets, " and ".join(names) or "umbrella")  # type: ignore[arg-type]


def lines() -> list[str]:
    """Enough text for a small vocabulary in which every number is one token."""
    call = '{"name": "segment", "arguments": {"bbox_2d": [8, 16, 24, 32]}}'
    zoom = '{"name": "zoom", "arguments": {"bbox_2d": [8, 16, 24, 32]}}'
    numbers = [str(number) for number in range(1000) for _ in range(20)]
    return [*numbers, *[call, zoom, "The dog, top left.", "find the cat", "system\n", "user\n", "assistant\n"] * 300]


@cache
def scribe() -> Scribe:
    return Scribe(train_tokenizer(lines(), 1700))


@cache
def model() -> Any:
    return fresh(scribe().tokenizer).eval()
