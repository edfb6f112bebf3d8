"""`rsagent eval`: an agent on samples with known masks, budgets beside each other, rows that a killed run keeps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rsagent import settings
from rsagent.agent.state import Budget
from rsagent.cli.segment import options_of, read_key
from rsagent.client import AsyncClient
from rsagent.errors import BadQuery, RSAgentError
from rsagent.evaluation import (
    Answer,
    Halted,
    Report,
    Row,
    Sample,
    asking,
    evaluate,
    fingerprint,
    overall,
    playing,
    table,
)
from rsagent.evaluation.check import against_pycocotools
from rsagent.evaluation.files import write
from rsagent.evaluation.journal import Config, Journal
from rsagent.evaluation.page import page
from rsagent.service import open_service

RETRIES = 8
EQUAL = 1e-9
ZOOMS: dict[str, tuple[int | None, ...]] = {"on": (None,), "off": (0,), "both": (0, None)}


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom to ask, within which budgets (by the names of their runs), and where it is written."""

    runs: dict[str, Budget]
    server: str | None = None
    key_file: Path | None = None
    at_once: int = 8
    deadline: float = 120.0
    out: Path | None = None
    again: bool = False
    pictures: int = 24
    data: dict[str, Any] = field(default_factory=dict)
    """What chose the samples: for the record."""


def runs_of(turns: str, zoom: str) -> dict[str, Budget]:
    """The budgets of `--turns 1,8 --zoom both`, by name. Raises BadQuery for what is no such list."""
    try:
        counts = [int(count) for count in turns.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise BadQuery(f"--turns {turns!r} is no list of numbers from 1 on, such as 1,8")
    if zoom not in ZOOMS:
        raise BadQuery(f"--zoom is one of {', '.join(ZOOMS)}")
    return {_name(count, zooms): Budget(turns=count, zooms=zooms) for zooms in ZOOMS[zoom] for count in counts}


def listed(words: str) -> tuple[str, ...]:
    """The words between commas."""
    return tuple(word.strip() for word in words.split(",") if word.strip())


def check() -> bool:
    """Print our figures beside pycocotools'; whether they are equal to 1e-9."""
    found = against_pycocotools()
    console = Console(highlight=False)
    console.print(f"{found.pairs} random pairs of masks")
    console.print(f"gIoU  ours {found.giou:.12f}  pycocotools {found.their_giou:.12f}")
    console.print(f"cIoU  ours {found.ciou:.12f}  pycocotools {found.their_ciou:.12f}")
    console.print(f"largest difference of any IoU {found.worst:.1e}")
    return found.apart < EQUAL


def _name(turns: int, zooms: int | None) -> str:
    name = "one-shot" if turns == 1 else f"up to {turns} turns"
    return name if zooms is None else f"{name}, no zoom"


async def run(plan: Plan, samples: list[Sample]) -> dict[str, Report]:
    """Ask about all samples within each budget, and write what the plan says. Raises RSAgentError."""
    console = Console(stderr=True)
    async with AsyncExitStack() as stack:
        config = _config(plan, samples) if plan.out else {}
        journal = stack.enter_context(Journal.open(plan.out / "rows.jsonl", config)) if plan.out else None
        answers = await _answers(plan, stack, console)
        reports = await _ask(plan, samples, answers, journal, console)
        if plan.out is not None and journal is not None:
            _write(plan.out, plan, config, reports, samples, journal, console)
    return reports


async def _ask(
    plan: Plan, samples: list[Sample], answers: dict[str, Answer], journal: Journal | None, console: Console
) -> dict[str, Report]:
    reports: dict[str, Report] = {}
    with _progress(console) as bar:
        for name, answer in answers.items():
            tick = _ticker(bar, name, len(samples))
            try:
                reports[name] = await evaluate(
                    samples, answer, at_once=plan.at_once, done=tick, journal=journal, run=name, again=plan.again
                )
            except Halted as stopped:
                kept = f". What was answered is kept in {plan.out}: the same command goes on" if plan.out else ""
                raise RSAgentError(f"{stopped}{kept}") from stopped
    return reports


async def _answers(plan: Plan, stack: AsyncExitStack, console: Console) -> dict[str, Answer]:
    """Who answers in each run: the service at `--server`, or engines of our own."""
    if plan.server is None:
        with console.status("loading the models"):
            service = await stack.enter_async_context(open_service(settings.load()))
        runner, deadline = service.runner, plan.deadline
        return {name: playing(runner, budget, deadline=deadline) for name, budget in plan.runs.items()}
    if any(budget.zooms is not None for budget in plan.runs.values()):
        raise BadQuery("--zoom off needs engines of our own: a service decides about zooms itself; leave out --server")
    client = AsyncClient(plan.server, api_key=read_key(plan.key_file), retries=RETRIES)
    await stack.enter_async_context(client)
    if not await client.ready():
        raise RSAgentError(f"no service is ready at {plan.server}: start one with `rsagent serve`")
    wishes = {name: options_of(budget.turns, plan.deadline, False, None) for name, budget in plan.runs.items()}
    return {name: asking(client, options) for name, options in wishes.items()}


def _config(plan: Plan, samples: list[Sample]) -> Config:
    asked = {"server": plan.server} if plan.server else fingerprint.of_engines(settings.load())
    return {
        "rsagent": version("rsagent"),
        **plan.data,
        "samples": len(samples),
        "sentences": fingerprint.of_samples(samples),
        "runs": {name: asdict(budget) for name, budget in plan.runs.items()},
        "deadline": plan.deadline,
        **asked,
    }


def _write(
    out: Path,
    plan: Plan,
    config: Config,
    reports: dict[str, Report],
    samples: list[Sample],
    journal: Journal,
    console: Console,
) -> None:
    write(out, config, reports)
    with console.status("drawing the page"):
        (out / "report.html").write_text(page(config, reports, samples, journal, plan.pictures), encoding="utf-8")
    console.print(f"[dim]{out}/report.html, report.md, report.json, rows.jsonl[/]", soft_wrap=True, highlight=False)


def told(reports: dict[str, Report]) -> str:
    """What the command prints: by kind, then how the episodes went."""
    return f"{table(reports)}\n\n{overall(reports)}"


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(40), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.fields[giou]}"), console=console)


def _ticker(bar: Progress, name: str, total: int) -> Callable[[Row], None]:
    """Advances a bar that shows the gIoU so far, and what failed."""
    task, count, ious, failed = bar.add_task(name, total=total, giou=""), 0, 0.0, 0

    def tick(row: Row) -> None:
        nonlocal count, ious, failed
        count, ious, failed = count + 1, ious + row.iou, failed + (row.error is not None)
        bar.update(task, advance=1, giou=f"gIoU {ious / count:.3f}" + (f", [red]{failed} errors[/]" if failed else ""))

    return tick
