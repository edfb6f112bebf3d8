"""The optimiser of every stage: AdamW, a rate that is held and then let down, gradients clipped to norm one; and the
precision it computes in.

Muon was tried on the tower and learned no faster a step here, at a sixth more time a step (see `vision.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rsagent.training.policy.together import average

DECAY = 0.05


class Optimiser:
    """AdamW over a module, the gradients of each of its children clipped by themselves.

    `scales` maps a part of parameter names to a factor on the learning rate; the first that fits counts."""

    def __init__(self, module: nn.Module, lr: float, scales: Mapping[str, float] | None = None) -> None:
        groups: dict[tuple[float, bool], list[Tensor]] = {}
        for name, p in module.named_parameters():
            if p.requires_grad:
                factor = next((f for part, f in (scales or {}).items() if part in name), 1.0)
                groups.setdefault((factor, p.ndim > 1), []).append(p)
        self._children = [list(child.parameters()) for child in module.children()]
        self._adam = torch.optim.AdamW(
            [
                {"params": group, "lr": lr * factor, "base": lr * factor, "weight_decay": DECAY if matrix else 0.0}
                for (factor, matrix), group in groups.items()
            ],
            betas=(0.9, 0.99),
            fused=True,
        )

    def step(self, factor: float, clip: float = 1.0) -> float:
        """One update at `factor` times the base rate; returns the largest norm before clipping."""
        average(parameter for child in self._children for parameter in child)
        norm = max(float(nn.utils.clip_grad_norm_(parameters, clip)) for parameters in self._children)
        for group in self._adam.param_groups:
            group["lr"] = group["base"] * factor
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)
        return norm

    def state_dict(self) -> dict[str, Any]:
        return self._adam.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._adam.load_state_dict(state)


def brisk(device: str) -> bool:
    """Whether a device multiplies bfloat16 in hardware: of CPUs those with AVX-512 BF16 or AMX do."""
    if not device.startswith("cpu"):
        return True
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def mixed(device: str) -> torch.autocast:
    """Where the forward passes of a stage run: bfloat16 products, and float32 where a CPU would have to imitate those,
    which takes 4 times as long forward and 20 times backward (measured on a CPU with AVX2 alone)."""
    return torch.autocast(device.split(":")[0], torch.bfloat16, enabled=brisk(device))


def factor_at(progress: float, step: int, warm: int = 100, floor: float = 0.05, hold: float = 0.6) -> float:
    """Learning-rate factor: linear over `warm` steps, flat until `hold` of the time, then linear down to `floor`."""
    down = 1.0 if progress < hold else 1 - (1 - floor) * min(1.0, (progress - hold) / (1 - hold))
    return min(1.0, (step + 1) / warm) * down
