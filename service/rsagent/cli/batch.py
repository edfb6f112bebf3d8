"""`rsagent batch`: many requests from a file, so many at once, their answers into a file that can be gone on with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from rsagent.api.requests import Options
from rsagent.cli import manifest
from rsagent.cli.manifest import Item
from rsagent.cli.rows import Rows, write_coco
from rsagent.cli.segment import options_of as segment_options
from rsagent.cli.segment import own_service, read_key
from rsagent.client import AsyncClient, RequestFailed, Unreachable
from rsagent.errors import RSAgentError

RETRIES = 8
"""With their pauses about a minute: enough for a service to be restarted, or for its queue to empty."""

HOPELESS = frozenset({401, 403})
"""What is answered so to one request is answered so to all."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask, where the answers go, and whom to ask."""

    manifest: Path
    output: Path
    coco: Path | None = None
    server: str | None = None
    key_file: Path | None = None
    concurrency: int = 4
    again: bool = False


def options_of(turns: int | None, deadline: float | None, seed: int | None) -> Options:
    """Options of each request from the command line's; the story of the turns is left out."""
    return segment_options(turns, deadline, pictures=False, seed=seed).model_copy(update={"include": ()})


def decisive(options: Options) -> dict[str, Any]:
    """The options that decide an answer, where they were given. A deadline only decides whether there is one: what
    failed for want of time may be asked again with more."""
    return options.model_dump(mode="json", include={"max_turns", "seed"}, exclude_none=True)


async def batch(plan: Plan, options: Options) -> int:
    """Ask what has no answer yet; how many rows are errors in the end.

    Raises RSAgentError where the manifest or the output cannot be used, and where the service goes away: what was
    answered until then is kept.
    """
    console = Console(stderr=True)
    items = manifest.read(plan.manifest)
    with Rows.open(plan.output, decisive(options)) as rows:
        waiting = rows.missing(items, plan.again)
        done = len(items) - len(waiting)
        if done:
            console.print(
                f"[dim]{done} of {len(items)} are answered in {plan.output}: going on from there[/]", soft_wrap=True
            )
        if waiting:
            await _ask_all(plan, options, rows, waiting, console)
        console.print(
            f"answered: {len(items) - rows.failed}, failed: {rows.failed}; rows in {plan.output}",
            highlight=False,
            soft_wrap=True,
        )
        if plan.coco is not None:
            console.print(f"{write_coco(rows, items, plan.coco)} masks in {plan.coco}", highlight=False, soft_wrap=True)
        return rows.failed


async def _ask_all(plan: Plan, options: Options, rows: Rows, waiting: list[Item], console: Console) -> None:
    key = read_key(plan.key_file)
    async with AsyncExitStack() as stack:
        url = plan.server or await own_service(stack, console)
        client = await stack.enter_async_context(AsyncClient(url, api_key=key, retries=RETRIES))
        if not await client.ready():
            raise Unreachable(f"no service is ready at {url}: start one with `rsagent serve`", sent=False)
        bar = stack.enter_context(_progress(console))
        crew = _Crew(
            client, options, plan.manifest.parent, rows, iter(waiting), bar, bar.add_task("", total=len(waiting))
        )
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(plan.concurrency, len(waiting))):
                    group.create_task(crew.work())
        except* RSAgentError as stopped:
            reason = stopped.exceptions[0]
            raise RSAgentError(f"{reason}. What was answered is kept: the same command goes on from here") from reason


def _progress(console: Console) -> Progress:
    columns = (BarColumn(40), MofNCompleteColumn(), TextColumn("[red]{task.description}"), TimeRemainingColumn())
    return Progress(*columns, console=console)


@dataclass(frozen=True, slots=True, eq=False)
class _Crew:
    """Those who take the next item, ask, and write down what came of it, until nothing is left."""

    client: AsyncClient
    options: Options
    folder: Path
    rows: Rows
    waiting: Iterator[Item]
    bar: Progress
    task: TaskID

    async def work(self) -> None:
        for item in self.waiting:
            self.rows.add(item, await self._outcome(item))
            failed = self.rows.failed
            self.bar.update(self.task, advance=1, description=f"{failed} errors" if failed else "")

    async def _outcome(self, item: Item) -> dict[str, Any]:
        """An answer or an error, to be written down. Raises what ends the whole batch."""
        try:
            answer = await self.client.segment(self.folder / item.image, item.query, options=self.options)
        except Unreachable:
            raise
        except RequestFailed as failure:
            if failure.problem is None or failure.problem.status in HOPELESS:
                raise
            return {"error": failure.problem.model_dump(mode="json", exclude_none=True)}
        except RSAgentError as error:
            return {"error": {"code": error.code, "detail": str(error), "retryable": False}}
        except OSError as error:
            detail = f"cannot read {item.image}: {error.strerror or error}"
            return {"error": {"code": "unreadable_file", "detail": detail, "retryable": False}}
        return {"answer": answer.document.model_dump(mode="json")}
