"""`python -m loadtests bench`: everything in one run."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from loadtests.bench import costs, measure, plots, replicas, report
from loadtests.bench.clients import PATIENCE
from loadtests.bench.contenders import Hall
from loadtests.bench.cpu import Meter
from loadtests.bench.measure import Numbers, Tell
from loadtests.bench.plan import NANO, Plan, Sam
from loadtests.bench.recording import Library, Sketch, Stage
from loadtests.bench.report import Results
from loadtests.bench.scale import Scale
from loadtests.capacity import Fleet
from loadtests.verdict import Verdict, table
from rsagent import settings as root
from rsagent.agent import dialects
from rsagent.policy.checkpoint import load
from rsagent.policy.settings import LocalPolicySettings
from rsagent.segmenter.serve.cluster import installed
from rsagent.service import policy_started, segmenter_started
from rsagent.settings import Settings

PARTS = ("orchestrator", "replicas", "nano", "costs", "large")
OF_ENGINES = ("nano",)
"""What is measured over vLLM and Ray Serve as well. The other parts are about one engine, or about none."""
Profile = Literal["embedded", "engines"]
MARK = "LOADTESTS_BENCH"
FORCING = "loadtests.bench.forcing_vllm:Forcing"


def settings_of(profile: Profile, scale: Scale, replicas: int = 1) -> Settings:
    """The service's settings, which are the limit's, too: room for all clients at once, in its door and its policy's
    batches, and all else as it comes."""
    inflight = max(scale.clients, scale.idle + scale.clients)
    return root.load(
        profile=profile,
        server={"port": 0},
        limits={"inflight": inflight, "queue": 64, "deadline": PATIENCE, "max_deadline": PATIENCE},
        policy={
            "local": {"max_batch": scale.clients},
            "vllm": {"arguments": ("--logits-processors", FORCING)},
        },
        segmenter={"ray": {"replicas": replicas}},
    )


def for_large(settings: Settings) -> Settings:
    """The same with a segmenter thread for each core: its encoder is all that counts then, and one thread would leave
    to the service half of what the loop's encodes take."""
    segmenter = settings.segmenter.model_copy(update={"kind": "local", "workers": os.cpu_count() or 1})
    return settings.model_copy(update={"segmenter": segmenter})


@asynccontextmanager
async def standing(settings: Settings, tell: Tell) -> AsyncIterator[Settings]:
    """Start the engines that the settings ask for; what comes finds them by address. All contenders share them."""
    async with (
        policy_started(settings.policy, tell) as policy,
        segmenter_started(settings.segmenter, tell) as segmenter,
    ):
        yield settings.model_copy(update={"policy": policy, "segmenter": segmenter})


class Bench:
    """One run over one set of engines, in a folder for recordings and one for results."""

    def __init__(self, settings: Settings, scale: Scale, folder: Path, out: Path, mark: str, tell: Tell) -> None:
        self._settings, self._scale = settings, scale
        self._library, self._out = Library(folder), out
        self._environment = {MARK: mark}
        self._meter = Meter(mark)
        self._tell = tell
        checkpoint = load(LocalPolicySettings())  # engines of both profiles have the packaged one
        tokenizer = checkpoint.tokenizer.backend_tokenizer
        self._stage = Stage(dialects.get(checkpoint.dialect), checkpoint.view, tokenizer, NANO.core())

    async def run(self, parts: Sequence[str], results: Results) -> AsyncGenerator[Results, None]:
        """The results with each part added, as it is measured."""
        measures: dict[str, Callable[[Results], Awaitable[Results]]] = {
            "orchestrator": self._orchestrator,
            "nano": self._nano,
            "costs": self._costs,
            "replicas": self._replicas,
            "large": self._large,
        }
        for part in PARTS:
            if part in parts:
                results = await measures[part](results)
                yield results

    async def _orchestrator(self, results: Results) -> Results:
        hall, numbers = self._hall("orchestrator"), Numbers(self._library, self._sketched(NANO), 20_000)
        found = await measure.orchestrator(hall, numbers, self._scale, self._tell)
        return replace(results, orchestrator=found)

    async def _nano(self, results: Results) -> Results:
        hall, numbers = self._hall("nano"), Numbers(self._library, self._stage)
        throughput, growth = await measure.compared(hall, numbers, self._scale, self._tell)
        return replace(results, throughput=throughput, growth=[*results.growth, *growth])

    async def _large(self, results: Results) -> Results:
        large = self._scale.large
        hall, numbers = self._hall("large", large), Numbers(self._library, self._sketched(large), 10_000)
        throughput, grown = await measure.large(hall, numbers, self._scale, self._tell)
        return replace(results, large=throughput, growth=[*results.growth, grown], sam=large)

    async def _costs(self, results: Results) -> Results:
        """The costs of one of each, and the service's own rate beside them, where that was measured."""
        if results.throughput is None:
            return results
        pooled = self._settings.segmenter.kind == "local"
        count = self._settings.segmenter.workers if pooled else self._settings.segmenter.ray.replicas
        fleet = Fleet(engines=1, replicas=count, cores=float(os.cpu_count() or 1))
        numbers = Numbers(self._library, self._stage, 30_000)
        found = await costs.costs(self._hall("costs"), numbers, self._scale, fleet, self._tell)
        if results.orchestrator is not None:
            found = replace(found, turn=statistics.median(results.orchestrator.turn_ms) / 1000)
        unit = f"an engine, or a replica, of {report.machine()['cpu']}"
        rounds = results.throughput.rounds[measure.SERVICE]
        # No part had a core to itself while the service was measured.
        machine = Fleet(machine=os.cpu_count() or 1)
        return replace(results, capacity=costs.measurement(unit, found, machine, rounds))

    async def _replicas(self, results: Results) -> Results:
        """On a cluster of its own, with the policy in the service's process."""
        async with segmenter_started(replicas.for_replicas(self._settings).segmenter, self._tell) as found:
            settings = self._settings.model_copy(update={"segmenter": found})
            two, one = (self._hall(name, settings=each) for name, each in replicas.both(settings).items())
            numbers = Numbers(self._library, self._stage, 40_000)
            measured = await replicas.replicated(two, one, self._library, numbers, self._scale, self._tell)
            return replace(results, replicas=measured)

    def _hall(self, name: str, sam: Sam = NANO, settings: Settings | None = None) -> Hall:
        settings = settings or (self._settings if sam.variant == "nano" else for_large(self._settings))
        plan = Plan(settings, self._library.folder, sam).write(self._library.folder / f"{name}.plan")
        return Hall(plan, self._library, self._out, self._environment, self._meter)

    def _sketched(self, sam: Sam) -> Stage:
        # A mask has four cells to one of the embedding, of 16 px in SAM's own sizes and 8 px in the nano.
        return replace(self._stage, core=Sketch(sam.side // (2 if sam.variant == "nano" else 4)))


async def measured(
    profile: Profile, scale: Scale, parts: Sequence[str], count: int, out: Path, tell: Tell
) -> AsyncGenerator[Results, None]:
    """Everything, part by part, with engines started and ended."""
    mark = uuid.uuid4().hex
    os.environ[MARK] = mark  # for engines that are started here
    settings = settings_of(profile, scale, count)
    told: dict[str, Any] = {"scale": repr(scale), "threads": os.environ.get("OMP_NUM_THREADS", "torch's default")}
    told |= {name: settings.model_dump(mode="json")[name] for name in ("policy", "segmenter", "limits")}
    with tempfile.TemporaryDirectory(prefix="rsagent-bench-") as folder:
        async with standing(settings, tell) as found:
            bench = await asyncio.to_thread(Bench, found, scale, Path(folder), out, mark, tell)
            async for results in bench.run(parts, Results(profile, told)):
                yield results


def run(
    profiles: Sequence[Profile], scale: Scale, parts: Sequence[str], count: int, threads: int | None, out: Path
) -> bool:
    """Measure each profile, with `count` replicas where they are engines; write `table.md` to `out`, and a folder for
    each with `bench.json`, `COSTS.json` and the plots; show the table. True if every bar is met."""
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    console, started = Console(), time.monotonic()
    said = ""

    def tell(words: str) -> None:
        nonlocal said
        if words == said:  # "starting for 3 s", five times a second
            return
        said = words
        console.print(f"[dim]{time.monotonic() - started:5.0f} s  {words}[/]", highlight=False)

    tables, rows = "", list[Verdict]()
    for profile in profiles:
        wanted = [part for part in parts or PARTS if profile == "embedded" or part in OF_ENGINES]
        found = _written(profile, scale, possible(wanted, tell), count, out / profile, tell)
        tables += f"Profile `{profile}`\n\n{report.markdown(found)}\n"
        console.print(table(found))
        rows += found
    (out / "table.md").write_text(tables)
    console.print(f"{out / 'table.md'}, and beside it all figures and plots of each profile", highlight=False)
    return all(verdict.holds for verdict in rows)


def possible(parts: Sequence[str], tell: Tell) -> list[str]:
    """Without those that need what is not installed, which is told."""
    if "replicas" in parts and not installed():
        tell("Ray is not installed (`make engines`): no replicas are measured")
        return [part for part in parts if part != "replicas"]
    return list(parts)


def _written(profile: Profile, scale: Scale, parts: Sequence[str], count: int, out: Path, tell: Tell) -> list[Verdict]:
    """Each part is written as soon as it is measured: what ends a run early leaves what there is."""
    out.mkdir(parents=True, exist_ok=True)
    before, started = report.machine(), time.monotonic()

    async def all_parts() -> Results:
        results = Results(profile, {})
        async with aclosing(measured(profile, scale, parts, count, out, tell)) as growing:
            async for results in growing:
                found = report.document(results) | {"machine": before, "seconds": time.monotonic() - started}
                await asyncio.to_thread(_write, results, found, out)
        return results

    return report.verdicts(asyncio.run(all_parts()))


def _write(results: Results, found: dict[str, Any], out: Path) -> None:
    (out / "bench.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "table.md").write_text(report.markdown(report.verdicts(results)))
    if results.capacity is not None:
        (out / "COSTS.json").write_text(json.dumps(costs.document(results.capacity), indent=1) + "\n")
    plots.draw(found, out)
