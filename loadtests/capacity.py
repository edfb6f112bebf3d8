"""`python -m loadtests.capacity COSTS.json`: requests a second from the number of GPUs, by what was measured.

The model is the service's cost model (one encode an image, one decode a prompt, every token prefilled once) over
throughputs at saturation. It is checked against a measured throughput with `--check`; `docs/scaling.md` explains it.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Episode:
    """What a request asks of the engines, at the mean. Tokens are those of all turns together."""

    turns: float
    prompts: float
    """Prompts to the segmenter: turns that call it."""
    images: float
    """Images that are encoded: the picture, and each zoom that a prompt is about."""
    prefilled_tokens: float
    """Prompt tokens that no cache had: each of the conversation once."""
    generated_tokens: float

    def __post_init__(self) -> None:
        _refuse_negative(self)


@dataclass(frozen=True)
class Costs:
    """Unit-seconds of one of each, at saturation. A unit is what was measured: a GPU, or a CPU core."""

    prefill: float
    """Of one prompt token: 1 / (tokens/s of an engine that only prefills)."""
    generate: float
    """Of one generated token: 1 / (tokens/s of an engine with a full batch)."""
    encode: float
    decode: float
    """Of one prompt in a full batch."""
    turn: float
    """CPU-seconds of the orchestrator, per turn."""
    request: float
    """CPU-seconds of the orchestrator, per request besides its turns."""

    def __post_init__(self) -> None:
        _refuse_negative(self)

    def policy(self, episode: Episode) -> float:
        """Unit-seconds of the policy engine, an episode."""
        return episode.prefilled_tokens * self.prefill + episode.generated_tokens * self.generate

    def segmenter(self, episode: Episode, lost: float = 0.0) -> float:
        """Unit-seconds of segmenter replicas, an episode. `lost` is the share of prompts whose embedding is gone
        (evicted, or its replica has left), and is made again."""
        return (episode.images + lost * episode.prompts) * self.encode + episode.prompts * self.decode

    def orchestrator(self, episode: Episode) -> float:
        """CPU-seconds of the orchestrator, an episode."""
        return self.request + episode.turns * self.turn


@dataclass(frozen=True)
class Fleet:
    """How many units have each part to themselves. With `shared` units, both engines are on all of them; with a
    `machine` of so many cores and nothing else, orchestrators are there, too."""

    engines: int = 0
    replicas: int = 0
    shared: int = 0
    machine: int = 0
    cores: float = math.inf
    """CPU cores of orchestrators."""


@dataclass(frozen=True)
class Capacity:
    """Requests a second that a fleet serves, and the part that is full at that rate."""

    rate: float
    bottleneck: str


def capacity(fleet: Fleet, episode: Episode, costs: Costs, *, load: float = 0.8, lost: float = 0.0) -> Capacity:
    """What `fleet` serves with each part busy for the share `load` of the time: beyond it, queues grow fast."""
    policy, segmenter = costs.policy(episode), costs.segmenter(episode, lost)
    orchestrator = _rate(fleet.cores, costs.orchestrator(episode))
    if fleet.machine:
        parts = {"cores": _rate(fleet.machine, policy + segmenter + costs.orchestrator(episode))}
    elif fleet.shared:
        parts = {"units": _rate(fleet.shared, policy + segmenter), "orchestrator": orchestrator}
    else:
        engines, replicas = _rate(fleet.engines, policy), _rate(fleet.replicas, segmenter)
        parts = {"policy": engines, "segmenter": replicas, "orchestrator": orchestrator}
    bottleneck = min(parts, key=lambda part: parts[part])
    return Capacity(load * parts[bottleneck], bottleneck)


def divide(units: int, episode: Episode, costs: Costs) -> Fleet:
    """The division of `units` between the engines that serves most; a single unit is shared."""
    if units < 2:
        return Fleet(shared=units)
    fleets = [Fleet(engines=engines, replicas=units - engines) for engines in range(1, units)]
    return max(fleets, key=lambda fleet: capacity(fleet, episode, costs).rate)


def needed(rate: float, episode: Episode, costs: Costs, *, load: float = 0.8) -> Fleet:
    """The least fleet that serves `rate` requests a second."""
    return Fleet(
        engines=math.ceil(rate * costs.policy(episode) / load),
        replicas=math.ceil(rate * costs.segmenter(episode) / load),
        cores=math.ceil(rate * costs.orchestrator(episode) / load),
    )


def open_episodes(rate: float, seconds: float) -> float:
    """Episodes that are under way at once (Little's law), of `seconds` each: what caches must hold."""
    return rate * seconds


def cache_bytes(rate: float, seconds: float, images: float, embedding: int, replicas: int) -> float:
    """Bytes of embeddings that each replica must hold so that no episode loses one of its own."""
    return open_episodes(rate, seconds) * images * embedding / replicas


def _rate(units: float, seconds: float) -> float:
    return units / seconds if seconds else math.inf


def _refuse_negative(values: Any) -> None:
    for field in fields(values):
        if not 0 <= getattr(values, field.name) < math.inf:
            raise ValueError(f"{type(values).__name__}.{field.name} must be a number from 0 on")


@dataclass(frozen=True)
class Measurement:
    """What a benchmark wrote: the episodes it played, what they cost, on what, and how many were served a second."""

    unit: str
    episode: Episode
    costs: Costs
    fleet: Fleet | None = None
    rate: float | None = None

    @classmethod
    def read(cls, path: Path) -> Measurement:
        """Raises OSError, and ValueError or TypeError where a field is missing, unknown or no number."""
        found = json.loads(path.read_text())
        return cls(
            unit=found["unit"],
            episode=Episode(**found["episode"]),
            costs=Costs(**found["costs"]),
            fleet=Fleet(**found["fleet"]) if "fleet" in found else None,
            rate=found.get("rate"),
        )

    def reached(self) -> float | None:
        """The measured rate over the model's at full load, where one was measured."""
        if self.fleet is None or self.rate is None:
            return None
        return self.rate / capacity(self.fleet, self.episode, self.costs, load=1.0).rate


def table(found: Measurement, units: list[int], load: float) -> Table:
    """A row for each number of units."""
    shown = Table("units", "policy", "segmenter", "requests/s", "full first", "orchestrator cores")
    for count in units:
        fleet = divide(count, found.episode, found.costs)
        served = capacity(fleet, found.episode, found.costs, load=load)
        cores = needed(served.rate, found.episode, found.costs, load=load).cores
        parts = ("shared", "shared") if fleet.shared else (str(fleet.engines), str(fleet.replicas))
        shown.add_row(str(count), *parts, f"{served.rate:.3g}", served.bottleneck, str(cores))
    return shown


def main(
    costs: Annotated[Path, typer.Argument(help="What the benchmark measured, as JSON.", exists=True, dir_okay=False)],
    units: Annotated[str, typer.Option(help="Numbers of units, with commas.")] = "1,2,4,8,16,32,64",
    load: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Share of the time that the fullest part works.")
    ] = 0.8,
    rate: Annotated[float | None, typer.Option(min=0.0, help="What does this many requests a second need?")] = None,
    check: Annotated[float | None, typer.Option(help="Fail if less than this share of the model was measured.")] = None,
) -> None:
    """Requests a second by the number of GPUs, from measured costs."""
    found, console = Measurement.read(costs), Console()
    console.print(f"a unit is {found.unit}; [dim]{asdict(found.episode)}[/]", highlight=False)
    console.print(table(found, [int(count) for count in units.split(",")], load))
    if rate is not None:
        fleet = needed(rate, found.episode, found.costs, load=load)
        console.print(
            f"{rate:g} requests/s: {fleet.engines} for the policy, {fleet.replicas} for the segmenter, "
            f"{fleet.cores:g} cores for orchestrators",
            highlight=False,
        )
    reached = found.reached()
    if reached is not None:
        console.print(f"measured: {reached:.0%} of what the model says at full load", highlight=False)
    if check is not None and (reached is None or reached < check):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
