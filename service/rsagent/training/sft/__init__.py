"""Supervised fine-tuning on trajectories: the cold start before reinforcement learning."""

from rsagent import _torchvision

_torchvision.prepare()
