"""The mean of the weights of several runs.

Runs of different seeds see different requests and drift apart in what their few groups left to chance; what all of
them learned stays in the mean (model soups, arXiv 2203.05482). So they may run beside each other without talking.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from rsagent.policy.checkpoint import load
from rsagent.policy.settings import LocalPolicySettings
from rsagent.training.chat.saving import export
from rsagent.training.rl.journal import CHECKPOINT


@torch.no_grad()
def merge(out: Path, folders: Sequence[Path]) -> None:
    """Write the mean over the runs in `folders` as a checkpoint directory. Raises ValueError where the runs trained
    different weights, or additions to them (lora), which have no mean of this kind."""
    source = folders[0] / "export"
    model = load(LocalPolicySettings(checkpoint=str(source), device="cpu", dtype="float32")).model
    runs = [torch.load(folder / CHECKPOINT, weights_only=True)["weights"] for folder in folders]
    parameters = dict(model.named_parameters())
    if any(set(run) - set(parameters) or set(run) != set(runs[0]) for run in runs):
        raise ValueError("these runs did not train the same weights of one model")
    for name in runs[0]:
        parameters[name].copy_(torch.stack([run[name].float() for run in runs]).mean(0))
    export(model, source, out)
