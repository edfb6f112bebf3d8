"""A checkpoint's files: where they are, and what they say without loading a weight. Imports neither torch nor
transformers, which a policy in another process does not need here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsagent.errors import CheckpointError
from rsagent.policy.protocol import ViewSpec

NANO = Path(__file__).parent / "weights" / "nano"
DIALECTS = {"qwen2_5_vl": "qwen2.5-vl", "qwen3_vl": "qwen3-vl"}
FILES = ("*.json", "*.safetensors", "*.jinja", "*.txt")


@dataclass(frozen=True, slots=True)
class Description:
    """What a checkpoint speaks, what it looks at, and how many tokens it takes."""

    dialect: str
    view: ViewSpec
    max_context: int


def locate(name: str, revision: str | None = None) -> Path:
    """The directory of a checkpoint; a hub id is fetched, or found in the hub's cache when `HF_HUB_OFFLINE` is set."""
    path = NANO if name == "nano" else Path(name).expanduser()
    if path.is_dir():
        return path
    if name == "nano" or name.count("/") != 1 or name.startswith((".", "~", "/")):
        raise CheckpointError(f"no checkpoint directory {name!r}; set the policy's checkpoint to one that exists")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
    except (OSError, ValueError) as error:
        advice = "fetch it once with `hf download`, unset HF_HUB_OFFLINE, or give the path of a directory"
        raise CheckpointError(f"{name!r} is no directory, nor to be had from the hub: {advice}") from error


def kind_of(directory: Path, name: str) -> str:
    """The architecture, one of `DIALECTS`. Raises CheckpointError."""
    kind = read_json(directory / "config.json").get("model_type")
    if kind not in DIALECTS:
        raise CheckpointError(f"{name!r} is a {kind!r}; use one of {', '.join(DIALECTS)}")
    return str(kind)


def describe(directory: Path, name: str, max_pixels: int) -> Description:
    """What the files in `directory` say. Raises CheckpointError where they are missing or say nothing."""
    kind, config = kind_of(directory, name), read_json(directory / "config.json")
    text = config.get("text_config", config)
    said = said_by(directory)
    try:
        processor = _processor(directory)
        size = processor.get("size", {})
        view = view_of(
            said,
            max_pixels,
            factor=int(processor["patch_size"]) * int(processor["merge_size"]),
            longest=int(size.get("longest_edge", processor.get("max_pixels", max_pixels))),
            shortest=int(size.get("shortest_edge", processor.get("min_pixels", 0))),
        )
        return Description(said.get("dialect", DIALECTS[kind]), view, int(text["max_position_embeddings"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{name!r} does not say how large its pictures or prompts are; export it anew") from error


def said_by(directory: Path) -> dict[str, Any]:
    """`rsagent.json`, or nothing where there is none."""
    path = directory / "rsagent.json"
    return read_json(path) if path.exists() else {}


def view_of(said: dict[str, Any], max_pixels: int, *, factor: int, longest: int, shortest: int) -> ViewSpec:
    """The largest and smallest view that the checkpoint's own image processor would leave alone.

    `longest` and `shortest` are that processor's limits in pixels of area; `rsagent.json` (`said`) goes first.
    """
    largest = int(said.get("max_pixels", min(max_pixels, longest)))
    smallest = int(said.get("min_pixels", shortest))
    return ViewSpec(max_pixels=largest, factor=int(said.get("factor", factor)), min_pixels=min(smallest, largest))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises CheckpointError, which names the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"the checkpoint's {path.name} is missing or no JSON; export it anew") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"the checkpoint's {path.name} is no JSON object; export it anew")
    return value


def _processor(directory: Path) -> dict[str, Any]:
    """The image processor's settings: of late a part of `processor_config.json`, before that a file of its own."""
    whole = directory / "processor_config.json"
    if whole.exists() and isinstance(part := read_json(whole).get("image_processor"), dict):
        return part
    return read_json(directory / "preprocessor_config.json")
