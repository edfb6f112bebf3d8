"""Logs: plain lines or one JSON object a line, each with the id of its request, none with a secret.

No module logs a header, a body, a sentence or a key. The filter below is the second line of defence, for what other
libraries say: anything that looks like a credential is blotted out before it is written.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from contextvars import ContextVar
from typing import Any, TextIO

from rsagent.observing.settings import LogSettings

request_id: ContextVar[str] = ContextVar("request_id", default="-")
"""The request that is being served; set by the API's outermost layer."""

BLOT = "[secret]"
_SECRETS = re.compile(
    r"(?P<keep>\bbearer\s+|\bbasic\s+|\b(?:x-)?api[_-]?key['\"]?\s*[:=]\s*['\"]?|://[^/\s:@]*:(?=[^/\s@]+@))"
    r"[^\s'\",;@]+|\brsa_[\w-]{20,}",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """`text` with everything blotted out that looks like a credential."""
    return _SECRETS.sub(lambda found: (found["keep"] or "") + BLOT, text)


class _Careful(logging.Formatter):
    """Writes a record without secrets and without line breaks that a message could forge another line with."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        record.request_id = request_id.get()
        text = super().format(record) if record.exc_info else super().format(record).replace("\n", "\\n")
        return redact(text)


class _Json(logging.Formatter):
    """One object a line: time (UTC), level, logger, request_id, message, and what a record tells besides."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "request_id": request_id.get(),
            "message": redact(record.getMessage()),
            **{key: _plain(value) for key, value in getattr(record, "told", {}).items()},
        }
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Write the logs of this process as the settings say, to `stream` (stderr by default)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json() if settings.format == "json" else _Careful())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)  # what other libraries say below that is theirs
    logging.getLogger("rsagent").setLevel(settings.level.upper())


def _plain(value: Any) -> Any:
    return redact(value) if isinstance(value, str) else value
