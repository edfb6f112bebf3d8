"""Running the commands of a row, once: what is done is written down, what was cut off goes on where it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from rsagent.errors import RSAgentError
from rsagent.evaluation import Report
from rsagent.evaluation.journal import rows_of
from rsagent.training.ablation.arms import Arm, Words

CHECKPOINT = "RSAGENT_POLICY__LOCAL__CHECKPOINT"
Run = Callable[[Sequence[str], dict[str, str], Path], int]


def command(words: Sequence[str], environment: dict[str, str], _: Path) -> int:
    """`python -m words…`, to be watched; its exit status."""
    return _ran(words, environment)


def logged(words: Sequence[str], environment: dict[str, str], log: Path) -> int:
    """The same, with all that it says in a file: for several at once."""
    with log.open("ab") as out:
        return _ran(words, environment, out)


def _ran(words: Sequence[str], environment: dict[str, str], out: IO[bytes] | None = None) -> int:
    said = None if out is None else subprocess.STDOUT
    words, environment = [sys.executable, "-m", *words], {**os.environ, **environment}
    return subprocess.run(words, env=environment, stdout=out, stderr=said, check=False).returncode  # noqa: S603


def make(arm: Arm, evaluation: Words, run: Run = command) -> Report:
    """Train the arm and ask what all arms are asked, unless that was done; its report.

    Raises RSAgentError where a command fails, or where the folder holds a row that was made otherwise.
    """
    arm.folder.mkdir(parents=True, exist_ok=True)
    if arm.trains:
        _once(arm.folder / "trained.json", arm.trains, {}, run)
    asked = ("rsagent.cli", "eval", "-o", str(arm.folder / "eval"), *evaluation)
    _once(arm.folder / "asked.json", asked, {CHECKPOINT: arm.checkpoint}, run)
    return report(arm)


def starts(arm: Arm, arms: Sequence[Arm]) -> list[Arm]:
    """Those whose checkpoint is made first because this one trains it further."""
    return [one for one in arms if one.trains and one.checkpoint in arm.trains]


def report(arm: Arm) -> Report:
    """What an arm's evaluation found: the run with the most turns where several were asked for."""
    rows = rows_of(arm.folder / "eval" / "rows.jsonl")
    return Report(tuple(list(rows.values())[-1].values()))


def measured(arms: Sequence[Arm]) -> dict[str, Report]:
    """The reports of the arms that are done."""
    return {arm.name: report(arm) for arm in arms if (arm.folder / "asked.json").exists()}


def _once(done: Path, words: Words, environment: dict[str, str], run: Run) -> None:
    told = {"command": list(words), **environment}
    if done.exists():
        if json.loads(done.read_text(encoding="utf-8")) != told:
            raise RSAgentError(f"{done.parent} was made by another command: choose another folder, or delete that one")
        return
    if status := run(words, environment, done.parent / "log.txt"):
        raise RSAgentError(f"{' '.join(words)} ended with {status}; the same ablation command goes on from here")
    done.write_text(json.dumps(told, indent=1), encoding="utf-8")
