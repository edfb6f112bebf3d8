"""Several processes that train one model: `torchrun --nproc-per-node 2 -m rsagent.training.policy ...`.

Two processes of one thread each see half as many pictures again as one process of two threads: the products here are
too small to be shared well. Each process draws its own pictures; gradients are averaged before they are clipped.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import Tensor, distributed, nn

SEEDS = 7919
"""How far apart the seeds of neighbouring processes lie."""


def join() -> None:
    """Meet the other processes of a `torchrun`, where there is one."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        distributed.init_process_group("gloo")


def _many() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def rank() -> int:
    """The number of this process, 0 where it is alone."""
    return distributed.get_rank() if _many() else 0


def agreed(value: float) -> float:
    """The value that process 0 has."""
    if not _many():
        return value
    told = torch.tensor([value], dtype=torch.float64)
    distributed.broadcast(told, 0)
    return float(told)


@torch.no_grad()
def alike(module: nn.Module) -> None:
    """Give all processes the weights that process 0 has."""
    if _many():
        for value in module.state_dict().values():
            distributed.broadcast(value, 0)


@torch.no_grad()
def average(parameters: Iterable[Tensor]) -> None:
    """Replace the gradients of `parameters` by their mean over all processes; each must have the same ones."""
    if not _many():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
