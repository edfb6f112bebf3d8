"""`python -m loadtests bench`: everything in one run."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from loadtests.bench import measure, plots, report
from loadtests.bench.clients import PATIENCE
from loadtests.bench.contenders import Hall
from loadtests.bench.cpu import Meter
from loadtests.bench.measure import Numbers, Tell
from loadtests.bench.plan import NANO, Plan, Sam
from loadtests.bench.recording import Library, Sketch, Stage
from loadtests.bench.report import Results
from loadtests.bench.scale import FULL, SHORT, Scale
from loadtests.verdict import table
from rsagent import settings as root
from rsagent.agent import dialects
from rsagent.policy.checkpoint import load
from rsagent.policy.settings import LocalPolicySettings
from rsagent.service import policy_started, segmenter_started
from rsagent.settings import Settings

PARTS = ("nano", "large", "orchestrator")
MARK = "LOADTESTS_BENCH"
FORCING = "loadtests.bench.forcing_vllm:Forcing"


def settings_of(profile: Literal["embedded", "engines"], scale: Scale, replicas: int = 1) -> Settings:
    """The service's settings, which are the limit's, too: room for all clients at once, in its door and its engines'
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
        segmenter={"max_batch": scale.clients, "ray": {"replicas": replicas}},
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

    async def run(self, parts: Sequence[str], results: Results) -> Results:
        """The parts, each added to `results`."""
        if "orchestrator" in parts:
            hall, numbers = self._hall("orchestrator"), Numbers(self._library, self._sketched(NANO), 20_000)
            found = await measure.orchestrator(hall, numbers, self._scale, self._tell)
            results = replace(results, orchestrator=found)
        if "nano" in parts:
            hall, numbers = self._hall("nano"), Numbers(self._library, self._stage)
            throughput, growth = await measure.compared(hall, numbers, self._scale, self._tell)
            results = replace(results, throughput=throughput, growth=growth)
        if "large" in parts:
            large = self._scale.large
            hall, numbers = self._hall("large", large), Numbers(self._library, self._sketched(large), 10_000)
            results = replace(results, large=await measure.large(hall, numbers, self._scale, self._tell), sam=large)
        return results

    def _hall(self, name: str, sam: Sam = NANO) -> Hall:
        settings = self._settings if sam.variant == "nano" else for_large(self._settings)
        plan = Plan(settings, self._library.folder, sam).write(self._library.folder / f"{name}.plan")
        return Hall(plan, self._library, self._out, self._environment, self._meter)

    def _sketched(self, sam: Sam) -> Stage:
        # A mask has four cells to one of the embedding, of 16 px in SAM's own sizes and 8 px in the nano.
        return replace(self._stage, core=Sketch(sam.side // (2 if sam.variant == "nano" else 4)))


async def measured(
    profile: Literal["embedded", "engines"], scale: Scale, parts: Sequence[str], replicas: int, out: Path, tell: Tell
) -> Results:
    """Everything, with engines started and ended."""
    mark = uuid.uuid4().hex
    os.environ[MARK] = mark  # for engines that are started here
    settings = settings_of(profile, scale, replicas)
    told: dict[str, Any] = {"scale": repr(scale), "threads": os.environ.get("OMP_NUM_THREADS", "torch's default")}
    told |= {name: settings.model_dump(mode="json")[name] for name in ("policy", "segmenter", "limits")}
    with tempfile.TemporaryDirectory(prefix="rsagent-bench-") as folder:
        async with standing(settings, tell) as found:
            bench = await asyncio.to_thread(Bench, found, scale, Path(folder), out, mark, tell)
            return await bench.run(parts, Results(profile, told))


def run(
    profile: Literal["embedded", "engines"],
    short: bool,
    parts: Sequence[str],
    replicas: int,
    threads: int | None,
    out: Path,
) -> bool:
    """Measure, write `bench.json` and the plots to `out`, show the table. True if every bar is met."""
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    console, started = Console(), time.monotonic()
    out.mkdir(parents=True, exist_ok=True)

    def tell(words: str) -> None:
        console.print(f"[dim]{time.monotonic() - started:5.0f} s  {words}[/]", highlight=False)

    before = report.machine()
    results = asyncio.run(measured(profile, SHORT if short else FULL, parts or PARTS, replicas, out, tell))
    found = report.document(results) | {"machine": before, "seconds": time.monotonic() - started}
    (out / "bench.json").write_text(json.dumps(found, indent=1) + "\n")
    drawn = plots.draw(found, out)
    verdicts = report.verdicts(results)
    console.print(table(verdicts))
    console.print(f"{out / 'bench.json'}, {', '.join(path.name for path in drawn)}", highlight=False)
    return all(verdict.holds for verdict in verdicts)
