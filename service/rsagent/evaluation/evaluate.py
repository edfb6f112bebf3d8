"""The run: every sample once, many at once, in the order of the list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rsagent.errors import RSAgentError
from rsagent.evaluation.answering import Answer, Halted
from rsagent.evaluation.attempt import Attempt
from rsagent.evaluation.journal import Journal
from rsagent.evaluation.report import Report
from rsagent.evaluation.samples import Loaded, Sample
from rsagent.evaluation.score import Row, score
from rsagent.evaluation.story import Story, story_of


async def evaluate(
    samples: Sequence[Sample],
    answer: Answer,
    *,
    at_once: int = 8,
    done: Callable[[Row], None] = lambda _: None,
    journal: Journal | None = None,
    run: str = "",
    again: bool = False,
) -> Report:
    """Ask `answer` about every sample, `at_once` at a time, and score what it says.

    `done` is told of each row as it is there. With a `journal`, rows of `run` that it holds are taken from it (but
    errors, with `again`) and new ones are written to it. An answer that raises RSAgentError becomes a row that scores
    nothing. Raises RSAgentError for no samples, two of one id, one that cannot be loaded, and `Halted`.
    """
    _check(samples)
    kept = {} if journal is None else {row.id: row for (name, _), row in journal.rows.items() if name == run}
    rows = {sample.id: kept[sample.id] for sample in samples if sample.id in kept}
    if again:
        rows = {id: row for id, row in rows.items() if row.error is None}
    for row in rows.values():
        done(row)
    waiting = [sample for sample in samples if sample.id not in rows]
    crew = _Crew(answer, iter(waiting), done, journal, run, rows)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(waiting))):
                group.create_task(crew.work())
    except ExceptionGroup as failed:
        ours, others = failed.split(RSAgentError)
        if ours is None or others is not None:
            raise
        raise _first(ours) from failed
    return Report(tuple(rows[sample.id] for sample in samples))


def _check(samples: Sequence[Sample]) -> None:
    if not samples:
        raise RSAgentError("there is nothing to evaluate: the list of samples is empty")
    seen: set[str] = set()
    for sample in samples:
        if sample.id in seen:
            raise RSAgentError(f"two samples have the id {sample.id!r}: ids tell rows apart, make them unique")
        seen.add(sample.id)


def _first(failed: BaseExceptionGroup[RSAgentError]) -> RSAgentError:
    """What failed first; what else failed at the same time failed of the same."""
    first = failed.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


@dataclass(frozen=True, slots=True, eq=False)
class _Crew:
    """Those who take the next sample, ask, and note what came of it, until none is left."""

    answer: Answer
    waiting: Iterator[Sample]
    done: Callable[[Row], None]
    journal: Journal | None
    run: str
    rows: dict[str, Row] = field(repr=False)

    async def work(self) -> None:
        for sample in self.waiting:
            loaded = await asyncio.to_thread(sample.load)
            attempt = await self._attempt(loaded, sample.query)
            row, story = await asyncio.to_thread(self._scored, sample, loaded, attempt)
            if self.journal is not None and story is not None:
                self.journal.add(self.run, row, story)
            self.rows[sample.id] = row
            self.done(row)

    async def _attempt(self, loaded: Loaded, query: str) -> Attempt:
        try:
            return await self.answer(loaded.image, query)
        except Halted:
            raise
        except RSAgentError as error:
            height, width = loaded.image.shape[:2]
            return Attempt.failed(f"{error.code}: {error}", height, width)

    def _scored(self, sample: Sample, loaded: Loaded, attempt: Attempt) -> tuple[Row, Story | None]:
        story = None if self.journal is None else story_of(attempt, loaded)
        return score(sample, loaded, attempt), story
