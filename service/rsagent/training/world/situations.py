"""Scenes made for a difficulty: small targets that need a zoom, touching ones that need negative points, crowds."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import cv2
import numpy as np

from rsagent.training.world.asking import Request
from rsagent.training.world.combinations import Combinations
from rsagent.training.world.scene import Recipe, Scene

Situation = Literal["plain", "small", "touching", "repeated", "crowded"]
SITUATIONS: tuple[Situation, ...] = get_args(Situation)
RECIPES: dict[Situation, Recipe] = {
    "plain": Recipe(count=(2, 6), side=(0.12, 0.5)),
    "small": Recipe(count=(3, 6), side=(0.06, 0.4)),
    "touching": Recipe(count=(3, 6), side=(0.18, 0.45), overlap=0.2, repeat=0.6, touch=0.8),
    "repeated": Recipe(count=(3, 6), side=(0.12, 0.3), repeat=1.0, times=4),
    "crowded": Recipe(count=(7, 10), side=(0.12, 0.35), overlap=0.2),
}
NEEDS_ZOOM = 0.12
"""A target whose longer side is below this share of the picture's shorter one is less than one image token of the
nano policy (32 of 224 pixels): it is there to be zoomed at."""
REACH = 2


def recipe(situation: Situation, size: tuple[int, int], combinations: Combinations = "any") -> Recipe:
    """The recipe of a situation for pictures of `size` (height, width) pixels."""
    return replace(RECIPES[situation], size=size, combinations=combinations)


def needs_zoom(scene: Scene, index: int) -> bool:
    """Whether an object is too small to be seen well without a zoom."""
    x1, y1, x2, y2 = scene.objects[index].box
    height, width = scene.image.shape[:2]
    return bool(max(x2 - x1, y2 - y1) < NEEDS_ZOOM * min(height, width))


def touches(scene: Scene, index: int) -> tuple[int, ...]:
    """The objects whose pixels come within two pixels of this one's."""
    kernel = np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)
    near = cv2.dilate(scene.objects[index].mask.view(np.uint8), kernel).astype(np.bool_)
    return tuple(i for i, other in enumerate(scene.objects) if i != index and bool((near & other.mask).any()))


def shows(situation: Situation, scene: Scene, request: Request) -> bool:
    """Whether a request is about what its situation was made for: a small target, a touching one; others are always."""
    if situation == "small":
        return any(needs_zoom(scene, target) for target in request.targets)
    if situation == "touching":
        return any(touches(scene, target) for target in request.targets)
    return True
