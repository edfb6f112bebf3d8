"""A measured figure with its bar: what the reliability commands return."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from rich.table import Table


@dataclass(frozen=True)
class Verdict:
    """`what` was measured as `value`; it `holds` if it met `bar`. `more` has what it was taken from."""

    what: str
    value: str
    bar: str
    holds: bool
    more: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        return asdict(self)


def table(verdicts: list[Verdict]) -> Table:
    """The verdicts for people."""
    drawn = Table("what", "measured", "bar", "")
    for verdict in verdicts:
        drawn.add_row(verdict.what, verdict.value, verdict.bar, "[green]holds[/]" if verdict.holds else "[red]FAILS[/]")
    return drawn


def percentile(values: list[float], share: float) -> float:
    """`share` (0 to 100) of the values are not above it; 0 where there are none."""
    return float(np.percentile(values, share)) if values else 0.0
