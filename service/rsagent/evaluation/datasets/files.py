"""Files of a data set that somebody downloaded: read with care, and with errors that say what to do."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from rsagent import imaging
from rsagent.errors import BadImage, RSAgentError, TooLarge, UnsupportedFormat
from rsagent.settings import ImageLimits

T = TypeVar("T")

SHOWN = 3
"""Missing files that are named."""


class DatasetError(RSAgentError):
    """A data set's file is missing, broken, or not what the loader reads; the message names the file and the fix."""

    code = "bad_dataset"


def folder_at(path: Path, what: str) -> Path:
    """`path`, which is a folder. Raises DatasetError, saying `what` is expected there."""
    if not path.is_dir():
        raise DatasetError(f"{path} is no folder: {what}")
    return path


def first_there(candidates: Iterable[Path], what: str) -> Path:
    """The first of the paths that exists. Raises DatasetError, naming them all and `what` is looked for."""
    listed = list(candidates)
    for path in listed:
        if path.exists():
            return path
    raise DatasetError(f"{what} is not there; looked for {', '.join(map(str, listed))}")


def read_json(path: Path, what: str) -> Any:
    """The JSON in a file: UTF-8, or Windows-1252 as some annotations were written. Raises DatasetError."""
    data = read_bytes(path, what)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is no JSON ({error}): download it again") from error


def read_bytes(path: Path, what: str) -> bytes:
    """The bytes of a file. Raises DatasetError, saying `what` it should be."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"cannot read {path} ({error.strerror or error}): {what}") from error


def parse(model: TypeAdapter[T], fields: Any, path: Path) -> T:
    """`fields` of a file as a model. Raises DatasetError, naming the field that is wrong."""
    try:
        return model.validate_python(fields)
    except ValidationError as error:
        told = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, told["loc"]))
        raise DatasetError(f"{path}: {where + ': ' if where else ''}{told['msg']}; is it the right file?") from error


def picture(path: Path) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] RGB, upright. Raises DatasetError for a file that is no picture."""
    data = read_bytes(path, "the picture of a sample")
    try:
        return imaging.decode(data, ImageLimits())
    except (BadImage, TooLarge, UnsupportedFormat) as error:
        raise DatasetError(f"{path}: {error}") from error


def require(paths: Iterable[Path], what: str) -> None:
    """Raises DatasetError where some of the files are missing, with how many and the first of them: to be told before
    a run is better than in the middle of it."""
    listed = list(dict.fromkeys(paths))
    missing = [path for path in listed if not path.is_file()]
    if missing:
        named = ", ".join(map(str, missing[:SHOWN])) + (", …" if len(missing) > SHOWN else "")
        raise DatasetError(f"{len(missing)} of {len(listed)} files are missing ({named}): {what}")


def within(folder: Path, name: str) -> Path:
    """The file called `name` in a folder. Raises DatasetError for a name that leads out of it."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DatasetError(f"the file name {name!r} leads out of {folder}: is it the right file?")
    return path
