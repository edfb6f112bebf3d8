"""Pictures of the world that is measured, in the shape that training takes them: grounds of its training split only."""

from __future__ import annotations

import cv2
import numpy as np

from rsagent.training.segmenter.collage import Collage
from rsagent.training.segmenter.shapes import Rng
from rsagent.training.world import Recipe, World

PAINTED = 448
"""Longer side, px, of scenes as they are painted, before they are shrunk on their way into the model."""


def pictured(world: World, side: int, rng: Rng) -> Collage:
    """One scene whose longer side is `side` px, square or three to four; drawn again while nothing shows."""
    while True:
        short = side if rng.random() < 0.6 else round(0.75 * side)
        height, width = (side, short) if rng.random() < 0.5 else (short, side)
        scale = max(1.0, PAINTED / side)
        recipe = Recipe(size=(int(scale * height), int(scale * width)))
        scene = world.scene(int(rng.integers(2**40)), recipe)
        owner = np.zeros(recipe.size, np.uint8)
        for number, thing in enumerate(scene.objects, start=1):
            owner[thing.mask] = number
        image = cv2.resize(scene.image, (width, height), interpolation=cv2.INTER_AREA)
        owner = np.asarray(cv2.resize(owner, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
        collage = Collage(np.asarray(image, np.uint8), owner)
        if collage.objects():
            return collage
