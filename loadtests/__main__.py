"""`python -m loadtests`: what this machine makes of the embedded default."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loadtests import embedded, overlay


def main(
    rounds: Annotated[int, typer.Option(help="How often each shipped example is asked.")] = 5,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write the figures there as JSON.")] = None,
) -> None:
    """Measure overlays, and a real `rsagent serve`: time to first mask, to the end, encodes, memory."""
    figures = {"overlay": overlay.measure(), "embedded": embedded.measure(rounds)}
    Console().print_json(json.dumps(figures))
    if out:
        out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
