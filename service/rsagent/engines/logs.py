"""Log files of processes that we start: one a start, the newest kept, and the line that says what went wrong."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from rsagent.errors import NotConfigured

KEPT = 100
TAIL_BYTES = 65536

_ERROR = re.compile(r"^\S*(?:Error|Exception|Exit)\b.*|^.*: error: .*|^.*\bERROR\b.*(?:Error|failed).*", re.MULTILINE)
_PREFIX = re.compile(r"^\([^)]*\)\s*")
_LONGEST = 300


def new_log(folder: Path, name: str) -> Path:
    """A path for a new log in `folder`, which is made; all but the newest logs of `name` go. Raises NotConfigured."""
    folder = folder.expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in sorted(folder.glob(f"{name}-*.log"))[: 1 - KEPT]:
            old.unlink(missing_ok=True)
        # Names sort by time, as the line above needs: not by a local clock, which goes back in autumn.
        path = folder / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.log"
        path.touch(mode=0o600)
    except OSError as error:
        raise NotConfigured(f"no log can be written to {str(folder)!r}; set the policy's vllm.logs") from error
    return path


def last_error(path: Path) -> str:
    """The last line of a log that tells of an error, else its last line; empty for an empty log."""
    text = _tail(path)
    told = _ERROR.findall(text) or [line for line in text.splitlines() if line.strip()][-1:]
    return _PREFIX.sub("", told[-1].strip())[:_LONGEST] if told else ""


def last_line(path: Path) -> str:
    """What a log says at the moment."""
    lines = [line for line in _tail(path).splitlines() if line.strip()]
    return _PREFIX.sub("", lines[-1].strip())[:_LONGEST] if lines else ""


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return file.read().decode("utf-8", "replace")
