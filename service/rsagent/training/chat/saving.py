"""Writing a trained model as an ordinary checkpoint directory, like the one it was trained from."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

KEPT = ("*.json", "*.jinja", "*.txt", "*.model")
"""A checkpoint's files that training leaves as they are; weights and their index are written anew."""


def export(model: Any, source: Path, to: Path) -> None:
    """Write `model` with the tokenizer, processor, template and `rsagent.json` of the checkpoint directory `source`,
    in the type that `source` says it has. Adapters of peft are merged into a copy of the weights.

    The directory appears whole: it is written beside `to`, which it then replaces.
    """
    partial, old = to.with_name(to.name + ".partial"), to.with_name(to.name + ".old")
    for left in (partial, old):
        shutil.rmtree(left, ignore_errors=True)
    plain = merged(model)
    weights = cast(plain.state_dict(), dtype_of(source))
    plain.save_pretrained(partial, state_dict=weights)
    for path in (path for pattern in KEPT for path in source.glob(pattern)):
        if not path.name.endswith(".safetensors.index.json"):
            shutil.copyfile(path, partial / path.name)
    if to.exists():
        to.rename(old)
    partial.rename(to)
    shutil.rmtree(old, ignore_errors=True)


def cast(weights: Mapping[str, torch.Tensor], kind: torch.dtype) -> dict[str, torch.Tensor]:
    """The weights in the type `kind`; tied ones stay one tensor, so that they are written once."""
    made: dict[tuple[int, torch.Size], torch.Tensor] = {}
    for value in weights.values():
        plain = value.detach()
        made.setdefault((value.data_ptr(), value.shape), plain.to(kind) if plain.is_floating_point() else plain)
    return {name: made[value.data_ptr(), value.shape] for name, value in weights.items()}


def merged(model: Any) -> Any:
    """The plain model: `model` itself, or a copy with its adapters merged in."""
    return copy.deepcopy(model).merge_and_unload() if hasattr(model, "merge_and_unload") else model


def dtype_of(directory: Path) -> torch.dtype:
    """The type of weights that a checkpoint's config names; float32 where it names none."""
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    named = config.get("dtype") or config.get("torch_dtype") or "float32"
    found = getattr(torch, str(named), torch.float32)
    return found if isinstance(found, torch.dtype) else torch.float32
