"""`python -m loadtests reliability`: every measured promise of docs/reliability.md, in one table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from loadtests import chaos, drill, fuzz, hangups, isolation, noisy, overload, soak
from loadtests.verdict import Verdict, table

Measure = Callable[[bool], list[Verdict]]

PARTS: dict[str, Measure] = {
    "overload": overload.measure,
    "hangups": hangups.measure,
    "noisy": noisy.measure,
    "isolation": isolation.measure,
    "fuzz": fuzz.measure,
    "contract": fuzz.contract,
    "chaos": chaos.measure,
    "soak": soak.measure,
}
"""By name, the long ones last."""

ENGINES: dict[str, Measure] = {"chaos": drill.measure}
"""What there is against real engines: vLLM and Ray Serve."""


def parts(plot: Path | None) -> dict[str, Measure]:
    """`PARTS`; the soak draws its plot there."""
    return {**PARTS, "soak": lambda short: soak.measure(short, plot)}


def run(names: list[str], measures: dict[str, Measure], short: bool, out: Path | None) -> bool:
    """Measure the named parts (all of them if there are none), draw a table, write JSON; whether all of it holds."""
    verdicts: list[Verdict] = []
    for name in names or measures:
        Console(stderr=True).rule(name)
        verdicts += measures[name](short)
        if out is not None:  # after each part: an hour's figures are not lost to the last minute
            out.write_text(json.dumps([verdict.document() for verdict in verdicts], indent=1, default=str) + "\n")
    Console().print(table(verdicts))
    return all(verdict.holds for verdict in verdicts)
