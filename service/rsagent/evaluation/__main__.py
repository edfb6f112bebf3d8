"""`python -m rsagent.evaluation`: the shipped agent, or any other, on held-out collages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, cast, get_args

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from rsagent import settings
from rsagent.agent.state import Budget
from rsagent.evaluation import Report, Row, Sample, evaluate, playing, table
from rsagent.evaluation.datasets import collages, unseen
from rsagent.evaluation.datasets.collages import KINDS
from rsagent.service import open_service
from rsagent.training.world.phrasing import Voice

console = Console()


def main(
    count: Annotated[int, typer.Option(help="Requests to play, the kinds in equal shares.")] = 300,
    seed: Annotated[int, typer.Option(help="Which scenes: another seed, other scenes.")] = 0,
    wording: Annotated[str, typer.Option(help="'heldout' phrasings, or those of 'train'ing.")] = "heldout",
    turns: Annotated[str, typer.Option(help="Turn budgets to compare over the same requests.")] = "1,8",
    at_once: Annotated[int, typer.Option(help="Requests in flight.")] = 8,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write all figures there as JSON.")] = None,
) -> None:
    """Score the configured agent on held-out collages: gIoU by kind of request, one-shot (1 turn) and multi-turn.

    Settings come from the environment as for `rsagent serve` (RSAGENT_…), so that another checkpoint or a policy
    server is evaluated by the same command.
    """
    voice = _voice(wording)
    samples = [*collages(count, voice, seed=seed), *unseen(count // len(KINDS), seed=seed)]
    budgets = [int(budget) for budget in turns.split(",")]
    runs = asyncio.run(_runs(samples, budgets, at_once))
    console.print(table(runs))
    if out:
        figures = {name: report.as_json() for name, report in runs.items()}
        out.write_text(json.dumps({"count": count, "seed": seed, "wording": voice, "runs": figures}, indent=1) + "\n")
        console.print(f"all figures: {out}")


def _voice(wording: str) -> Voice:
    if wording not in get_args(Voice):
        raise typer.BadParameter(f"--wording is one of {', '.join(get_args(Voice))}")
    return cast(Voice, wording)


async def _runs(samples: list[Sample], budgets: list[int], at_once: int) -> dict[str, Report]:
    runs: dict[str, Report] = {}
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True),
    )  # fmt: skip
    async with open_service(settings.load()) as service:
        with bar:
            for turns in budgets:
                name = "one-shot" if turns == 1 else f"up to {turns} turns"
                tick = _ticker(bar, bar.add_task(name, total=len(samples)))
                runs[name] = await evaluate(
                    samples, playing(service.runner, Budget(turns=turns)), at_once=at_once, done=tick
                )
    return runs


def _ticker(bar: Progress, task: TaskID) -> Callable[[Row], None]:
    return lambda _: bar.advance(task)


if __name__ == "__main__":
    typer.run(main)
