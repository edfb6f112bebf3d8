"""The processor that vLLM loads, over stand-ins for the two names that it takes from vLLM."""

from __future__ import annotations

import importlib
import sys
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch


class Direction(Enum):
    UNIDIRECTIONAL = 0
    SWAP = 1


@pytest.fixture
def forcing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A processor; the module is imported anew and forgotten."""
    logits = ModuleType("vllm.v1.sample.logits_processor")
    vars(logits).update(BatchUpdate=object, LogitsProcessor=object, MoveDirectionality=Direction)
    for name in ("vllm", "vllm.v1", "vllm.v1.sample"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, logits.__name__, logits)
    monkeypatch.delitem(sys.modules, "loadtests.bench.forcing_vllm", raising=False)
    module = importlib.import_module("loadtests.bench.forcing_vllm")
    monkeypatch.delitem(sys.modules, "loadtests.bench.forcing_vllm")
    return module.Forcing(None, torch.device("cpu"), False)


def update(added: Any = (), removed: Any = (), moved: Any = ()) -> Any:
    return SimpleNamespace(added=added, removed=removed, moved=moved)


def params(*ids: int) -> Any:
    return SimpleNamespace(extra_args={"rsagent_forced": list(ids)} if ids else None)


def chosen(forcing: Any, rows: int) -> list[int]:
    logits: torch.Tensor = forcing.apply(torch.arange(5.0).repeat(rows, 1))
    return logits.argmax(-1).tolist()


def test_each_row_says_its_next_token_and_the_others_are_left_alone(forcing: Any) -> None:
    said: list[int] = []
    forcing.update_state(update(added=[(0, params(2, 1), None, said), (1, params(), None, [])]))
    assert chosen(forcing, 2) == [2, 4]
    said.append(2)
    forcing.update_state(None)
    assert chosen(forcing, 2) == [1, 4]
    said.append(1)
    assert chosen(forcing, 2) == [4, 4], "what follows is not forced"


def test_rows_move_swap_and_leave(forcing: Any) -> None:
    forcing.update_state(update(added=[(0, params(1), None, []), (1, params(2), None, []), (2, params(3), None, [])]))
    forcing.update_state(update(moved=[(0, 1, Direction.SWAP)]))
    assert chosen(forcing, 3) == [2, 1, 3]
    forcing.update_state(update(removed=[0], moved=[(2, 0, Direction.UNIDIRECTIONAL)]))
    assert chosen(forcing, 3) == [3, 1, 4]
