"""The collage world's material comes in Debian packages: tests that need it skip where it is missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from rsagent.training.world import MaterialMissing, World

T = TypeVar("T")


def or_skip(make: Callable[[], T]) -> T:
    """What `make` gives; where that asks for what is not installed, a skipped test whose reason names the packages."""
    try:
        return make()
    except MaterialMissing as missing:
        pytest.skip(str(missing))


def opened(split: Any) -> World:
    """The world of a split, or a skipped test."""
    return or_skip(lambda: World(split))
