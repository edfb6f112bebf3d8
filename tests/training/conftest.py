"""The policy's tiny random checkpoints, for training, too."""

from tests.policy.conftest import checkpoint, qwen3, tiny_checkpoints, tiny_directories

__all__ = ["checkpoint", "qwen3", "tiny_checkpoints", "tiny_directories"]
