"""Two probes at the door of the first reader, thrown away after training.

To look a name up, the reader must be told which name (by the words before it) and what is where (by the image tokens);
two layers have to bring both there first. Asked for either directly, they do so within minutes; asked only for where
the reader looks in the end, a name was told rightly one time in twenty, and looks went astray with it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from rsagent.training.policy.drills import Sought
from rsagent.training.policy.shape import TEXT


class Probes(nn.Module):
    """Linear ones: which of `names` is looked for, and which object (from 1; 0 is the ground) a cell shows."""

    def __init__(self, names: int) -> None:
        super().__init__()
        self.sought, self.shown = nn.Linear(TEXT, names), nn.Linear(TEXT, names + 1)

    def forward(self, sought: Sought, cells: Tensor, classes: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Their loss, and how often each is right; `cells` [B, N, T], `classes` [B, N] as in `Targets.cell`."""
        on = classes > 0
        told, seen = self.sought(sought.states.float()), self.shown(cells[on].float())
        loss = functional.cross_entropy(told, sought.names) + functional.cross_entropy(seen, classes[on])
        return loss, {"sought": _right(told, sought.names), "shown": _right(seen, classes[on])}


@torch.no_grad()
def _right(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(-1) == labels).float().mean())
