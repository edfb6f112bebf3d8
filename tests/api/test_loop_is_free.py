"""Nothing that takes time runs on the event loop: not pictures, not masks, not models, not files, no waiting call.

Every call that the loop's thread makes while requests are served is looked at, by name and not by the clock.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from tests.api.stage import FINISH, SEGMENT, Cast, on_stage

from rsagent import imaging

LARGE = np.random.default_rng(1).integers(0, 255, (896, 1152, 3), dtype=np.uint8)

HEAVY = ("rsagent.imaging", "rsagent.masks", "rsagent.agent.render", "rsagent.segmenter.core", "cv2", "PIL", "torch")
"""Modules whose code works on pixels, masks and models."""

WAITING = {"sleep", "open", "fsync", "connect", "getaddrinfo", "wait", "imdecode", "imencode", "compress"}
"""Names of built-in calls that wait, or work long. An event loop's own waiting is in `select`, and its sockets do not
block."""


class Watch:
    """What the thread that made it calls, of `HEAVY` and of `WAITING`."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self.seen: set[str] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        assert threading.get_ident() == self._thread, "a profile function is one thread's"
        module = str(frame.f_globals.get("__name__", ""))
        if event == "call" and any(module == name or module.startswith(f"{name}.") for name in HEAVY):
            self.seen.add(f"{module}.{frame.f_code.co_name}")
        elif event == "c_call" and argument.__name__ in WAITING:
            self.seen.add(f"{module} calls {argument.__name__}")


@contextmanager
def watched() -> Iterator[Watch]:
    watch = Watch()
    sys.setprofile(watch)
    try:
        yield watch
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("stream", [False, True])
async def test_requests_leave_the_loop_free(stream: bool) -> None:
    picture = await asyncio.to_thread(imaging.encode_jpeg, LARGE)
    async with on_stage(Cast(script=(SEGMENT, SEGMENT.replace("750", "760"), FINISH))) as stage:
        await stage.post(image=picture, stream=stream, include="overlays,turns")  # what is imported, is imported then
        with watched() as watch:
            response = await stage.post(image=picture, stream=stream, include="overlays,turns")
    assert response.status_code == 200, response.text
    assert watch.seen == set()


def test_what_would_block_it_is_seen(tmp_path: Path) -> None:
    with watched() as watch:
        imaging.encode_jpeg(LARGE)
        time.sleep(0)
        (tmp_path / "file").write_bytes(b"")
    assert {"rsagent.imaging.encode_jpeg", f"{__name__} calls sleep", "pathlib calls open"} <= watch.seen
