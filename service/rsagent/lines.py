"""A file of lines that only grows, written by one process at a time, that outlives being killed.

Each line goes out in one write, so a run that is killed leaves whole lines and at most one torn one, which the next
run cuts off.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from rsagent.errors import RSAgentError


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """The open file. Use as a context manager."""

    path: Path
    file: BinaryIO

    @classmethod
    def open(cls, path: Path) -> Self:
        """The file, locked against others, and the folders it lies in.

        Raises RSAgentError where it cannot be opened or another process writes to it.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+b")
        except OSError as error:
            raise RSAgentError(f"cannot write {path}: {error.strerror or error}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise RSAgentError(f"another run writes to {path}: wait for it, or choose another place") from error
        return cls(path, file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def whole(self) -> Iterator[tuple[int, bytes]]:
        """Where each line begins, in bytes, and the line; at their end, what a killed run left of one is cut off."""
        self.file.seek(0)
        offset = 0
        for line in self.file:
            if not line.endswith(b"\n"):
                break
            yield offset, line
            offset += len(line)
        self.file.truncate(offset)

    def append(self, line: bytes) -> int:
        """Write a line, given without its end; where it begins."""
        offset = self.file.seek(0, os.SEEK_END)
        self.file.write(line + b"\n")
        self.file.flush()
        return offset

    def at(self, offset: int) -> bytes:
        """The line that begins there."""
        self.file.seek(offset)
        return self.file.readline()

    def close(self) -> None:
        """Let others write to it."""
        self.file.close()
