"""From played episodes to what a model is trained on: the very tokens that the served policy reads and says.

SFT and RL both start here, so that neither has a prompt, a tokenisation or an image size of its own.
"""

from rsagent.training.chat.passage import Passage, Said, join, spoken

__all__ = ["Passage", "Said", "join", "spoken"]
