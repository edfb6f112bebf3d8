"""How the nano policy is made: tokenizer, vision tower, grounding, episodes, export."""

from rsagent import _torchvision

_torchvision.prepare()
