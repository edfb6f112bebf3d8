"""`python -m rsagent.training.ablation`: the ablation table, by driving the other commands; resumes.

\b
    # RL from a checkpoint after SFT, and RL without each reward in turn
    python -m rsagent.training.ablation runs/ablation --sft runs/sft/export --steps 200

\b
    # the whole table, from a checkpoint that was never tuned
    python -m rsagent.training.synthesis make -o runs/trajectories --dialect qwen3-vl …
    python -m rsagent.training.ablation runs/ablation --base Qwen/Qwen3-VL-4B-Instruct --trajectories \\
        runs/trajectories --tune '--part lora --lr 1e-4' --reinforce '--part lora --lr 1e-5 --vllm …' --steps 200

Every row starts from the same checkpoint, has the same budget, and is asked the same requests; gains are paired, with
95 % bootstrap intervals. FOLDER/ablation.md and ablation.json grow as rows are done. A folder has a run of every row.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rsagent.cli.app import main as told
from rsagent.errors import RSAgentError
from rsagent.evaluation import Report
from rsagent.training.ablation import driving, table
from rsagent.training.ablation.arms import Arm, Setting, Words, arms
from rsagent.training.rl.rewards import REWARDS

console = Console()


def main(
    folder: Annotated[Path, typer.Argument(help="A run of every row, and the table; resumes.")],
    sft: Annotated[str | None, typer.Option(help="The checkpoint after SFT that RL starts from.")] = None,
    base: Annotated[str | None, typer.Option(help="The checkpoint before SFT: the row 'prompt-only'.")] = None,
    trajectories: Annotated[
        Path | None, typer.Option(help="Without --sft: what to tune --base on, with and without self-correction.")
    ] = None,
    tune: Annotated[str, typer.Option(help="Further words for rsagent.training.sft.")] = "",
    reinforce: Annotated[str, typer.Option(help="Further words for rsagent.training.rl run.")] = "",
    steps: Annotated[int, typer.Option(help="Steps of RL, in every row.")] = 40,
    rewards: Annotated[str, typer.Option(help="Rewards to leave out, one a row, with commas; '' for none.")] = ",".join(
        REWARDS
    ),
    at_once: Annotated[int, typer.Option(help="Rows made at once; each then writes a log.txt in its folder.")] = 1,
    ask: Annotated[str, typer.Option(help="Words for rsagent eval.")] = "--count 180 --turns 8",
) -> None:
    chosen = tuple(word.strip() for word in rewards.split(",") if word.strip())
    if unknown := set(chosen) - set(REWARDS):
        raise typer.BadParameter(f"--rewards are of {', '.join(REWARDS)}, not {', '.join(sorted(unknown))}")
    budget = ("--steps", str(steps), "--minutes", "100000", "--watched", "0", *shlex.split(reinforce))
    try:
        rows = arms(Setting(folder, sft, base, trajectories, tuple(shlex.split(tune)), budget, chosen))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    fill(folder, rows, tuple(shlex.split(ask)), driving.command if at_once == 1 else driving.logged, at_once)


def fill(
    folder: Path, rows: Sequence[Arm], evaluation: Words, run: driving.Run = driving.command, at_once: int = 1
) -> None:
    """Make the rows, so many at once, and write the table anew after each; one that fails leaves the others to be made,
    but for those that start from what it makes."""
    failed: list[str] = []
    made: dict[str, Future[Report]] = {}

    def row(arm: Arm, starts: Sequence[Future[Report]]) -> Report:
        for start in starts:
            start.result()
        console.rule(arm.name)
        return driving.make(arm, evaluation, run)

    with ThreadPoolExecutor(at_once) as pool:
        for arm in rows:
            made[arm.name] = pool.submit(row, arm, [made[one.name] for one in driving.starts(arm, rows)])
        names = {future: name for name, future in made.items()}
        for future in as_completed(names):
            if error := future.exception():
                if not isinstance(error, RSAgentError):
                    raise error
                failed.append(f"{names[future]}: {error}")
                console.print(f"[red]{error}[/]", soft_wrap=True)
            write(folder, rows)
    console.print(f"{folder / 'ablation.md'}, {folder / 'ablation.json'}", soft_wrap=True)
    if failed:
        raise RSAgentError("; ".join(failed))


def write(folder: Path, rows: Sequence[Arm]) -> None:
    """The table of what is done so far."""
    reports = driving.measured(rows)
    (folder / "ablation.md").write_text(table.markdown(rows, reports) + "\n", encoding="utf-8")
    found = json.dumps(table.document(rows, reports), indent=1)
    (folder / "ablation.json").write_text(found + "\n", encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.command(help=__doc__)(main)
    told(app)
