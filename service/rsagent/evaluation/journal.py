"""Rows on disk while a run goes on: a JSON object a line, so that a run that was killed goes on where it was.

The first line is the configuration that the rows were made with; rows made otherwise never mix with them. A row goes
out in one write: a run that is killed leaves whole rows and at most one torn line, which the next run cuts off. A
sample that was answered again has several rows; the last one counts.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from rsagent.errors import RSAgentError
from rsagent.evaluation.score import Row
from rsagent.evaluation.story import Story

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

    path: Path
    file: BinaryIO
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    _places: dict[tuple[str, str], int] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, config: Config) -> Self:
        """The file with what earlier runs of the same configuration left in it, locked against others.

        Raises RSAgentError where it cannot be opened, is no such file, was made with another configuration (naming
        what differs), or another run writes to it.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+b")
        except OSError as error:
            raise RSAgentError(f"cannot write {path}: {error.strerror or error}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            journal = cls(path, file)
            journal._recall(json.loads(json.dumps(config)))
        except BlockingIOError as error:
            file.close()
            raise RSAgentError(f"another run writes to {path}: wait for it, or choose another folder") from error
        except BaseException:
            file.close()
            raise
        return journal

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()

    def add(self, run: str, row: Row, story: Story) -> None:
        """Append a row and its story."""
        line = {"run": run, "row": asdict(row), "story": story.model_dump(mode="json")}
        self._places[run, row.id] = self._append(line)
        self.rows[run, row.id] = row

    def story(self, run: str, id: str) -> Story:
        """The story of a row that is there."""
        self.file.seek(self._places[run, id])
        return _Line.model_validate_json(self.file.readline()).story

    def _append(self, line: Any) -> int:
        offset = self.file.seek(0, os.SEEK_END)
        self.file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self.file.flush()
        return offset

    def _recall(self, config: Config) -> None:
        self.file.seek(0)
        head = self.file.readline()
        if not head.endswith(b"\n"):
            self.file.truncate(0)
            self._append({"evaluation": config})
            return
        self._check(head, config)
        offset = len(head)
        for line in self.file:
            if not line.endswith(b"\n"):
                break
            self._note(line, offset)
            offset += len(line)
        self.file.truncate(offset)

    def _check(self, head: bytes, config: Config) -> None:
        try:
            known: Config = json.loads(head)["evaluation"]
        except (ValueError, KeyError, TypeError) as error:
            raise RSAgentError(f"{self.path} is no file of evaluation rows: choose another folder") from error
        differing = [name for name in known.keys() | config.keys() if known.get(name) != config.get(name)]
        if differing:
            told = "; ".join(
                f"{name} was {_brief(known.get(name))}, is {_brief(config.get(name))}" for name in sorted(differing)
            )
            raise RSAgentError(f"{self.path} was made otherwise ({told}): choose another folder, or delete that one")

    def _note(self, line: bytes, offset: int) -> None:
        try:
            fields = json.loads(line)
            run, row = str(fields["run"]), _ROW.validate_python(fields["row"])
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            raise RSAgentError(
                f"{self.path} is damaged at byte {offset}: cut the line out, or choose another folder"
            ) from error
        self.rows[run, row.id], self._places[run, row.id] = row, offset


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
