"""`python -m loadtests`: what this machine makes of the embedded default; with a command, what it takes to break it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from loadtests import embedded, overlay

app = typer.Typer(add_completion=False)


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    rounds: Annotated[int, typer.Option(help="How often each shipped example is asked.")] = 5,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write the figures there as JSON.")] = None,
) -> None:
    """Measure overlays, and a real `rsagent serve`: time to first mask, to the end, encodes, memory."""
    if context.invoked_subcommand is not None:
        return
    figures = {"overlay": overlay.measure(), "embedded": embedded.measure(rounds)}
    Console().print_json(json.dumps(figures))
    if out:
        out.write_text(json.dumps(figures, indent=1) + "\n")


@app.command()
def reliability(
    parts: Annotated[
        list[str] | None, typer.Argument(help="overload, hangups, noisy, isolation, fuzz, contract, chaos, soak.")
    ] = None,
    profile: Annotated[str, typer.Option(help="embedded, or engines: chaos over vLLM and Ray Serve.")] = "embedded",
    short: Annotated[bool, typer.Option("--short", help="Minutes in place of an hour.")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write the figures there as JSON.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write the soak's memory over time there, as PNG.")] = None,
) -> None:
    """Overload, killed clients, a noisy key, isolation, bad input, chaos and a soak, each with its bar.

    Ends with 0 if everything holds. The whole takes about 50 minutes on a quiet machine.
    """
    from loadtests import reliability as command

    if profile not in ("embedded", "engines"):
        raise typer.BadParameter("profiles are embedded and engines")
    measures = command.ENGINES if profile == "engines" else command.parts(plot)
    if unknown := set(parts or ()) - set(measures):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: known are {', '.join(measures)}")
    raise typer.Exit(int(not command.run(parts or [], measures, short, out)))


@app.command()
def bench(
    parts: Annotated[
        list[str] | None, typer.Argument(help="orchestrator, nano, large, costs, replicas; all by default.")
    ] = None,
    profile: Annotated[str, typer.Option(help="embedded; engines: vLLM and Ray Serve; or all.")] = "embedded",
    short: Annotated[
        bool, typer.Option("--short", help="Some ten minutes in place of thirty, on two quiet cores.")
    ] = False,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="How often each contender plays, with the nano pair.")
    ] = None,
    replicas: Annotated[int, typer.Option(min=1, help="Segmenter replicas, with engines.")] = 2,
    threads: Annotated[int | None, typer.Option(min=1, help="OpenMP threads of everyone; torch's own choice.")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the table, figures, plots and logs.")] = Path(
        "build/bench"
    ),
) -> None:
    """The service against today's loops and its engines' own limit, side by side: throughput, cost, latency.

    Ends with 0 if every bar is met.
    """
    from loadtests.bench import command
    from loadtests.bench.scale import FULL, SHORT

    unknown = set(parts or ()) - set(command.PARTS)
    profiles: dict[str, list[command.Profile]] = {"embedded": ["embedded"], "engines": ["engines"]}
    profiles["all"] = [*profiles["embedded"], *profiles["engines"]]
    if unknown or profile not in profiles:
        raise typer.BadParameter(f"parts are {', '.join(command.PARTS)}; profiles are {', '.join(profiles)}")
    scale = SHORT if short else FULL
    scale = replace(scale, rounds=rounds or scale.rounds)
    raise typer.Exit(int(not command.run(profiles[profile], scale, parts or (), replicas, threads, out)))


@app.command()
def dashboards(
    profile: Annotated[str, typer.Option(help="embedded, or engines: vLLM and Ray Serve as well.")] = "embedded",
    seconds: Annotated[float, typer.Option(min=1, help="Load before the panels are asked.")] = 60,
    url: Annotated[str | None, typer.Option("--prometheus", help="Ask the one at this address; start nothing.")] = None,
    draw: Annotated[Path | None, typer.Option(help="Folder for a picture of each dashboard's series.")] = None,
) -> None:
    """Whether every panel of every dashboard returns data, asked of a real Prometheus while the service works.

    Ends with 0 if all do. Needs `prometheus` (Debian's package).
    """
    from loadtests import dashboards as command

    if profile not in ("embedded", "engines"):
        raise typer.BadParameter("profiles are embedded and engines")
    chosen: Literal["embedded", "engines"] = "engines" if profile == "engines" else "embedded"
    raise typer.Exit(int(not command.run(chosen, seconds, url, draw)))


@app.command()
def gpu(
    device: Annotated[str, typer.Option(help="cuda, cuda:1, or cpu.")] = "cuda",
    segmenters: Annotated[str, typer.Option(help="nano, vit_b, vit_l, vit_h, with commas.")] = "nano,vit_b,vit_h",
    policies: Annotated[str, typer.Option(help="3b, 7b, with commas: sizes of Qwen2.5-VL.")] = "3b,7b",
    batch: Annotated[int, typer.Option(min=1, help="How many at once.")] = 16,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write the figures there as JSON.")] = None,
) -> None:
    """Segmenters and in-process policies of published sizes, random weights, in bfloat16, against the card's limit."""
    from loadtests import gpu as command

    command.run(device, _words(segmenters), _words(policies), batch, out)


def _words(listed: str) -> list[str]:
    return [word.strip() for word in listed.split(",") if word.strip()]


if __name__ == "__main__":
    app()
