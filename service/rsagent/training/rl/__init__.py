"""Agentic reinforcement learning: whole episodes, played by the served loop, scored, and learned from (GRPO)."""

from rsagent import _torchvision

_torchvision.prepare()
