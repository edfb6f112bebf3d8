"""From what a caller has to what is sent: a picture in any usual form, and options."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypedDict, Unpack, runtime_checkable

import numpy as np
import pydantic_core
from numpy.typing import NDArray

from rsagent import imaging
from rsagent.api.requests import Include, Options, parse_options
from rsagent.api.starting import StartSegment, StartZoom
from rsagent.errors import BadImage


@runtime_checkable
class PillowLike(Protocol):
    """A PIL image, without importing PIL for those who have none."""

    def convert(self, mode: str, /) -> Any: ...


Picture = str | os.PathLike[str] | bytes | NDArray[np.uint8] | PillowLike
"""A path, the bytes of a JPEG, PNG or WebP file, uint8 [H, W, 3] RGB, or a PIL image."""

Start = Sequence[StartSegment | StartZoom | dict[str, Any]]


class Wishes(TypedDict, total=False):
    """Options by name: those of `rsagent.api.requests.Options`, masks' format aside."""

    max_turns: int | None
    deadline_ms: int | None
    include: Sequence[Include | str]
    seed: int | None
    temperature: float
    start: Start


def file_of(picture: Picture) -> bytes:
    """The bytes to send. Raises BadImage for what is no picture; OSError for a file that cannot be read."""
    match picture:
        case bytes():
            return picture
        case str() | os.PathLike():
            return Path(picture).read_bytes()
        case np.ndarray():
            return _encoded(picture)
        case PillowLike():
            return _encoded(np.asarray(picture.convert("RGB")))
    raise BadImage(f"a picture is a path, bytes, a uint8 array [H, W, 3] or a PIL image, not {type(picture).__name__}")


def options_of(options: Options | None, wishes: Wishes) -> Options:
    """`options`, changed by `wishes`; masks come as run lengths. Raises BadQuery for what is no option."""
    known: dict[str, Any] = {} if options is None else options.model_dump(exclude_unset=True)
    return parse_options(pydantic_core.to_json({**known, **wishes, "mask_format": "coco_rle"}).decode())


def form_of(picture: bytes, query: str, options: Options) -> dict[str, Any]:
    """What httpx is to send."""
    data = {"query": query, "options": options.model_dump_json(exclude_unset=True)}
    return {"files": {"image": ("image", picture)}, "data": data}


def _encoded(pixels: NDArray[Any]) -> bytes:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise BadImage(f"an array must be uint8 [H, W, 3] in RGB, not {pixels.dtype} {list(pixels.shape)}")
    return imaging.encode_png(np.ascontiguousarray(pixels))


__all__ = ["Picture", "Start", "Unpack", "Wishes", "file_of", "form_of", "options_of"]
