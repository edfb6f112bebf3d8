"""The collage world: photographic cut-outs over photographs, with exact masks and names."""

from rsagent.training.world.scene import Placed, Recipe, Scene, World
from rsagent.training.world.stock import MaterialMissing

__all__ = ["MaterialMissing", "Placed", "Recipe", "Scene", "World"]
