from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn

from rsagent.training.policy.together import agreed, alike, average, join, rank


def one_of_two(number: int, meeting: str, folder: str) -> None:
    os.environ |= {"RANK": str(number), "WORLD_SIZE": "2", "LOCAL_RANK": str(number), "MASTER_ADDR": "localhost"}
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=number, world_size=2)
    layer = nn.Linear(2, 1, bias=False)
    nn.init.constant_(layer.weight, float(number + 1))
    alike(layer)
    (layer(torch.tensor([[1.0, 0.0]])) * (number + 1)).sum().backward()
    average(layer.parameters())
    assert layer.weight.grad is not None
    told = [rank(), agreed(number + 0.5), *layer.weight.flatten().tolist(), *layer.weight.grad.flatten().tolist()]
    torch.save(torch.tensor(told), Path(folder) / f"{number}.pt")
    distributed.destroy_process_group()


def test_processes_begin_alike_and_share_their_gradients(tmp_path: Path) -> None:
    spawn(one_of_two, (str(tmp_path / "meeting"), str(tmp_path)), nprocs=2)  # type: ignore[no-untyped-call]
    told = [torch.load(tmp_path / f"{number}.pt", weights_only=True).tolist() for number in (0, 1)]
    assert told == [[0, 0.5, 1, 1, 1.5, 0], [1, 0.5, 1, 1, 1.5, 0]]


def test_alone_nothing_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    join()
    layer = nn.Linear(1, 1)
    layer(torch.ones(1, 1)).sum().backward()
    average(layer.parameters())
    alike(layer)
    assert (rank(), agreed(0.25)) == (0, 0.25)
    assert layer.weight.grad is not None
    assert layer.weight.grad.item() == 1
