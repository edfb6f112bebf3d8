"""Pictures to try the service on, with sentences that fit them. Made by `python -m rsagent.training.world examples`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Example:
    """A JPEG picture, its title, and requests about it; the last one may name what is not there."""

    name: str
    path: Path
    sentences: tuple[str, ...]


@cache
def load() -> tuple[Example, ...]:
    """All examples, in the order in which they should be offered."""
    listed = json.loads((FOLDER / "examples.json").read_text(encoding="utf-8"))
    return tuple(Example(item["name"], FOLDER / item["file"], tuple(item["sentences"])) for item in listed)
