"""`python -m loadtests.decoder [libFuzzer options]`: the picture decoder fuzzed by coverage, with atheris.

It runs until it is stopped or finds something: an exception other than a bad request, or a picture that is none.

    python -m loadtests.decoder -max_total_time=600
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]  # Linux only

with atheris.instrument_imports(include=["PIL", "rsagent.imaging"]):
    from PIL import Image  # noqa: F401  instrumented, plugins and all

    from rsagent import imaging

from loadtests import mutants
from rsagent.errors import BadRequest
from rsagent.settings import ImageLimits

BOUNDS = ImageLimits(max_pixels=4_000_000)


def one(data: bytes) -> None:
    """A picture, or a bad request."""
    try:
        picture = imaging.decode(data, BOUNDS)
    except BadRequest:
        return
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert picture.shape[0] * picture.shape[1] <= BOUNDS.max_pixels


def main() -> None:
    """Fuzz, beginning with the shipped pictures."""
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(mutants.seeds(side=32)):
            (Path(corpus) / str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, corpus], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
