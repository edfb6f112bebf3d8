"""Pickles of plain data, read without running what is in them.

A pickle is a program: it may name any importable function and have it called. One that holds only lists,
dictionaries, texts and numbers never needs to; so every name is refused, and with names everything that runs.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, NoReturn

from rsagent.evaluation.datasets.files import DatasetError, read_bytes

_BROKEN: tuple[type[Exception], ...] = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
    MemoryError, RecursionError, ImportError,
)  # fmt: skip
"""What the standard library's reader raises on damaged input."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {module}.{name}, and plain data names nothing")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it refers to something outside itself")


def plain(data: bytes) -> Any:
    """The lists, dictionaries, texts and numbers of a pickle. Texts of Python 2 are read as UTF-8.

    Raises pickle.UnpicklingError for one that names code, and any of `_BROKEN` for a damaged one; nothing is run.
    """
    return _PlainUnpickler(io.BytesIO(data), encoding="utf-8", errors="replace").load()


def read(path: Path, what: str) -> Any:
    """The plain data in a pickle's file. Raises DatasetError."""
    data = read_bytes(path, what)
    try:
        return plain(data)
    except _BROKEN as error:
        raise DatasetError(f"{path} is no pickle of plain data ({error}): download it again from its source") from error
