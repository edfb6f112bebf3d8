"""Dialects: how a policy is spoken to and how its text becomes an action. `get` finds one by name."""

from __future__ import annotations

from rsagent.agent.dialects.native import NativeDialect
from rsagent.agent.dialects.protocol import Dialect, Reading
from rsagent.agent.prompts import BRIEF, FULL
from rsagent.errors import NotConfigured
from rsagent.geometry import Normalised, ViewPixels

__all__ = ["Dialect", "NativeDialect", "Reading", "get", "names"]

_DIALECTS: dict[str, Dialect] = {
    "nano": NativeDialect("nano", Normalised(999), BRIEF, grid=8),
    "qwen3-vl": NativeDialect("qwen3-vl", Normalised(999), FULL),
    "qwen2.5-vl": NativeDialect("qwen2.5-vl", ViewPixels(), FULL),
}


def names() -> tuple[str, ...]:
    return tuple(_DIALECTS)


def get(name: str) -> Dialect:
    """The dialect registered under `name`. Raises NotConfigured, naming those there are."""
    try:
        return _DIALECTS[name]
    except KeyError:
        raise NotConfigured(f"unknown dialect {name!r}; known ones: {', '.join(_DIALECTS)}") from None
