"""The optimiser of every stage: Muon for the square-ish matrices inside the blocks, AdamW for the rest.

Muon's update is the momentum with its singular values pushed towards one (Jordan et al. 2024), here by
four Newton-Schulz steps over all matrices of one shape at a time, scaled by `GAIN` sqrt(longer side) so
that one learning rate serves both kinds (Liu et al. 2025, "Muon is scalable for LLM training", with 0.2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

STEPS = 4
GAIN = 0.6
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
LARGEST = 600 * 800


def orthogonal(stack: Tensor) -> Tensor:
    """Newton-Schulz towards the nearest orthogonal matrices of `stack` [K, M, N], in bfloat16."""
    a, b, c = COEFFICIENTS
    tall = stack.shape[1] > stack.shape[2]
    x = stack.transpose(1, 2) if tall else stack
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(torch.bfloat16)
    for _ in range(STEPS):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.transpose(1, 2) if tall else x).to(stack.dtype)


class Muon(torch.optim.Optimizer):
    """Muon over 2-D parameters; each group holds matrices of one shape and is updated in one go."""

    def __init__(self, groups: list[dict[str, object]], lr: float, momentum: float = 0.95, decay: float = 0.05) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: object = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            stack = torch.stack([self._nesterov(p, group["momentum"]) for p in parameters])
            scale = GAIN * math.sqrt(max(stack.shape[1:]))
            for p, update in zip(parameters, orthogonal(stack), strict=True):
                p.mul_(1 - group["lr"] * group["decay"]).add_(update, alpha=-group["lr"] * scale)

    def _nesterov(self, p: Tensor, momentum: float) -> Tensor:
        assert p.grad is not None
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        state["momentum"].lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(state["momentum"], momentum)


def _is_inner(name: str, p: Tensor) -> bool:
    return p.ndim == 2 and (".blocks." in name or ".layers." in name) and p.numel() <= LARGEST


class Optimiser:
    """Both optimisers, one schedule. `scales` maps a prefix of parameter names to a factor on the learning rate."""

    def __init__(
        self, modules: Iterable[nn.Module], lr: float, scales: dict[str, float] | None = None, muon: bool = True
    ) -> None:
        inner: dict[tuple[object, ...], dict[str, object]] = {}
        outer: dict[tuple[float, bool], dict[str, object]] = {}
        self.parameters: list[Tensor] = []
        for name, p in ((n, p) for module in modules for n, p in module.named_parameters() if p.requires_grad):
            self.parameters.append(p)
            factor = next((f for prefix, f in (scales or {}).items() if name.startswith(prefix)), 1.0)
            chosen, key = (inner, (factor, *p.shape)) if muon and _is_inner("." + name, p) else (outer, (factor, p.ndim > 1))
            group = chosen.setdefault(key, {"params": [], "lr": lr * factor, "base": lr * factor})  # type: ignore[arg-type,call-overload]
            group["params"].append(p)
        for (_, matrix), group in outer.items():
            group["weight_decay"] = 0.05 if matrix else 0.0
        self.parts: list[torch.optim.Optimizer] = [torch.optim.AdamW(list(outer.values()), betas=(0.9, 0.99), fused=True)]
        if inner:
            self.parts.append(Muon(list(inner.values()), lr))

    def step(self, factor: float, clip: float = 1.0) -> float:
        """One update at `factor` times the base rate; returns the gradient's norm before clipping."""
        norm = float(nn.utils.clip_grad_norm_(self.parameters, clip))
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = group["base"] * factor
            part.step()
            part.zero_grad(set_to_none=True)
        return norm

    def state_dict(self) -> list[dict[str, object]]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict[str, object]]) -> None:
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


def factor_at(progress: float, step: int, warm: int = 100, floor: float = 0.05, hold: float = 0.6) -> float:
    """Learning-rate factor: linear over `warm` steps, flat until `hold` of the time, then linear down to `floor`."""
    down = 1.0 if progress < hold else 1 - (1 - floor) * min(1.0, (progress - hold) / (1 - hold))
    return min(1.0, (step + 1) / warm) * down
