"""Rows on disk while a run goes on: a JSON object a line, so that a run that was killed goes on where it was.

The first line is the configuration that the rows were made with; rows made otherwise never mix with them. A sample that
was answered again has several rows; the last one counts.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from rsagent.errors import RSAgentError
from rsagent.evaluation.score import Row
from rsagent.evaluation.story import Story
from rsagent.lines import Lines

Config = dict[str, Any]
"""What the rows depend on, by name: plain JSON values."""

_ROW = TypeAdapter(Row)


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True)

    run: str
    row: Row
    story: Story


@dataclass(slots=True, eq=False)
class Journal:
    """The open file. `rows` are the last ones by run and sample id. Use as a context manager."""

    lines: Lines
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    _places: dict[tuple[str, str], int] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, config: Config) -> Self:
        """The file with what earlier runs of the same configuration left in it, locked against others.

        Raises RSAgentError where it cannot be opened, is no such file, was made with another configuration (naming
        what differs), or another run writes to it.
        """
        journal = cls(Lines.open(path))
        try:
            journal._recall(json.loads(json.dumps(config)))
        except BaseException:
            journal.lines.close()
            raise
        return journal

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lines.close()

    def add(self, run: str, row: Row, story: Story) -> None:
        """Append a row and its story."""
        line = {"run": run, "row": asdict(row), "story": story.model_dump(mode="json")}
        self._places[run, row.id] = self._append(line)
        self.rows[run, row.id] = row

    def story(self, run: str, id: str) -> Story:
        """The story of a row that is there."""
        return _Line.model_validate_json(self.lines.at(self._places[run, id])).story

    def _append(self, line: Any) -> int:
        return self.lines.append(json.dumps(line, separators=(",", ":")).encode())

    def _recall(self, config: Config) -> None:
        lines = self.lines.whole()
        _, head = next(lines, (0, b""))
        if not head:
            self._append({"evaluation": config})
            return
        self._check(head, config)
        for offset, line in lines:
            self._note(line, offset)

    def _check(self, head: bytes, config: Config) -> None:
        try:
            known: Config = json.loads(head)["evaluation"]
        except (ValueError, KeyError, TypeError) as error:
            raise RSAgentError(f"{self.lines.path} is no file of evaluation rows: choose another folder") from error
        differing = [name for name in known.keys() | config.keys() if known.get(name) != config.get(name)]
        if differing:
            told = "; ".join(
                f"{name} was {_brief(known.get(name))}, is {_brief(config.get(name))}" for name in sorted(differing)
            )
            raise RSAgentError(
                f"{self.lines.path} was made otherwise ({told}): choose another folder, or delete that one"
            )

    def _note(self, line: bytes, offset: int) -> None:
        try:
            fields = json.loads(line)
            run, row = str(fields["run"]), _ROW.validate_python(fields["row"])
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            raise RSAgentError(
                f"{self.lines.path} is damaged at byte {offset}: cut the line out, or choose another folder"
            ) from error
        self.rows[run, row.id], self._places[run, row.id] = row, offset


def rows_of(path: Path) -> dict[str, dict[str, Row]]:
    """The rows of a finished file by run and sample id, whatever configuration they were made with.

    Raises FileNotFoundError where there is none, ValueError where it is something else.
    """
    found: dict[str, dict[str, Row]] = {}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        fields = json.loads(line)
        row = _ROW.validate_python(fields["row"])
        found.setdefault(str(fields["run"]), {})[row.id] = row
    return found


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
