"""Runs one command as long as whoever started us lives, and leaves nothing of it behind.

    python keeper.py GRACE COMMAND …

Our standard input is a pipe that the service holds open. When it closes, because the service wants the end or because
it died in whatever way, the command's whole process group gets SIGTERM, and SIGKILL after GRACE seconds. SIGTERM to us
does the same. Should we ourselves be killed, the kernel tells the command (on Linux). Our exit status is the command's.

Standard library only, so that it starts in a blink and in any interpreter.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from types import FrameType

LOOK_SECONDS = 0.2
PR_SET_PDEATHSIG = 1


def keep(command: list[str], grace: float) -> int:
    """Run `command` until it ends or we are told to end it; its exit status, negative for a signal."""
    told = _Told()
    # The group is the command's own, so that all its processes can be ended, and only those.
    child = subprocess.Popen(  # noqa: S603  our own service wrote the command
        command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_parent
    )
    while child.poll() is None and not told.wait():
        pass
    _end(child, grace)
    return child.returncode


class _Told:
    """Whether the pipe has closed, or a signal has come."""

    def __init__(self) -> None:
        self._signalled = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)

    def wait(self) -> bool:
        readable, _, _ = select.select([0], [], [], LOOK_SECONDS)
        return self._signalled or (bool(readable) and not os.read(0, 4096))

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True


def _die_with_parent() -> None:
    """In the child, before it becomes the command. Nothing else runs in this process: it has one thread."""
    with suppress(OSError, AttributeError):  # no such call outside Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(child: subprocess.Popen[bytes], grace: float) -> None:
    _signal_group(child.pid, signal.SIGTERM)
    end = time.monotonic() + grace
    while _group_lives(child) and time.monotonic() < end:
        time.sleep(0.05)
    _signal_group(child.pid, signal.SIGKILL)
    child.wait()


def _group_lives(child: subprocess.Popen[bytes]) -> bool:
    child.poll()  # takes its status once it has ended, else it would count as alive
    return _signal_group(child.pid, 0)


def _signal_group(group: int, number: int) -> bool:
    """False where the group has no process left."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    status = keep(sys.argv[2:], float(sys.argv[1]))
    sys.exit(status if status >= 0 else 128 - status)
