"""COCO's compressed run-length encoding: column-major runs, packed into printable characters.

Encoding is pycocotools'. Decoding is our own, because pycocotools' C code trusts the counts it is given: a
hostile string would write past its buffer. The packing is that of `rleToString` in cocoapi's `maskApi.c`: six bits
a character from '0' on, of which five carry the value, least significant group first, the sixth says that more
follow, and the last group's top bit is the sign; from the third run on, a run is told as its difference to the one
two before it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from rsagent.errors import BadRequest

_FIRST = ord("0")
_MORE = 0x20
_SIGN = 0x10
_GROUPS = 7
"""More groups than a run of 2³² pixels needs."""


def encode(mask: NDArray[np.bool_]) -> str:
    """The `counts` string of a bool [H, W] mask, as `pycocotools.mask.encode` spells it."""
    counts: bytes = coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
    return counts.decode("ascii")


def decode(counts: str, height: int, width: int) -> NDArray[np.bool_]:
    """The bool [H, W] mask of a `counts` string. Raises BadRequest unless its runs fill the size exactly."""
    runs = _runs(counts)
    if any(run < 0 for run in runs) or sum(runs) != height * width:
        raise BadRequest(f"the RLE's runs do not fill {height} × {width} pixels")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape((width, height)).T.copy()


def _runs(counts: str) -> list[int]:
    runs: list[int] = []
    value, shift = 0, 0
    for character in counts:
        group = ord(character) - _FIRST
        if not 0 <= group < 2 * _MORE or shift >= 5 * _GROUPS:
            raise BadRequest("the RLE holds a character or a run that COCO's compressed form does not know")
        value |= (group & (_MORE - 1)) << shift
        shift += 5
        if group & _MORE:
            continue
        if group & _SIGN:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value, shift = 0, 0
    if shift:
        raise BadRequest("the RLE ends in the middle of a run")
    return runs
