"""Material made on the spot, so that these tests need no Debian package."""

import numpy as np

from rsagent.training.segmenter import shapes
from rsagent.training.segmenter.material import Material


def material(seed: int = 0) -> Material:
    rng = np.random.default_rng(seed)
    photos = [rng.integers(0, 255, (90, 120, 3), np.uint8) for _ in range(3)]
    cutouts = []
    for _ in range(3):
        alpha = np.rint(shapes.blob(rng) * 255).astype(np.uint8)
        cutouts.append(np.dstack([shapes.plain(alpha.shape, rng), alpha]))
    return Material(photos, cutouts, cutouts[:1], cutouts[1:])
