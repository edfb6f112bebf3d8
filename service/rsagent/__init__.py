"""RSAgent: text-guided segmentation as a service that reasons and acts.

`rsagent.Client` and the names beside it are looked up when they are first used: `import rsagent` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rsagent.client import (
        Accepted,
        Action,
        Answer,
        AsyncClient,
        Client,
        Event,
        Found,
        Proposed,
        RequestFailed,
        Thought,
        TimedOut,
        Unreachable,
    )

__all__ = [
    "Accepted",
    "Action",
    "Answer",
    "AsyncClient",
    "Client",
    "Event",
    "Found",
    "Proposed",
    "RequestFailed",
    "Thought",
    "TimedOut",
    "Unreachable",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("rsagent.client"), name)
    raise AttributeError(f"module 'rsagent' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
