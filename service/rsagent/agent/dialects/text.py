"""Finding a thought and a call in a policy's text. Nothing here raises on any text."""

from __future__ import annotations

import json
import re
from typing import Any

from rsagent.agent.actions import Malformed, MalformedKind

_CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|$)", re.DOTALL)
_THOUGHT = re.compile(r"<think>(.*?)(?:</think>|<tool_call>|$)", re.DOTALL)
_FENCE = re.compile(r"^```(?:json)?\s*|\s*```$")
_EXCERPT = 200
_LONGEST = 20_000

_CALL_ADVICE = (
    'Answer with one call: <tool_call>{"name": "segment", "arguments": {"bbox_2d": [x1, y1, x2, y2]}}</tool_call>.'
)


def excerpt(text: str) -> str:
    """The first 200 characters, on one line."""
    return " ".join(text[: 2 * _EXCERPT].split())[:_EXCERPT]


def find_thought(text: str) -> str:
    """What stands between the think tags; without tags, what stands before the call."""
    found = _THOUGHT.search(text[:_LONGEST])
    if found:
        return found.group(1).strip()
    return text[:_LONGEST].split("<tool_call>", 1)[0].split("</think>", 1)[0].strip()


def find_call(text: str) -> dict[str, Any] | Malformed:
    """The first call of a reply as a JSON object, not yet looked into."""
    found = _CALL.search(text[:_LONGEST])
    if not found:
        return Malformed(MalformedKind.NO_CALL, excerpt(text), _CALL_ADVICE)
    body = _FENCE.sub("", found.group(1).strip())
    try:
        call = json.loads(body, parse_constant=_refuse)
    except ValueError:
        return Malformed(MalformedKind.BAD_JSON, excerpt(body), f"The call is no valid JSON. {_CALL_ADVICE}")
    if not isinstance(call, dict):
        return Malformed(MalformedKind.BAD_JSON, excerpt(body), f"The call is no JSON object. {_CALL_ADVICE}")
    return call


def last_resort(text: str) -> Malformed:
    """For text that breaks the JSON reader itself."""
    return Malformed(MalformedKind.BAD_JSON, excerpt(text), _CALL_ADVICE)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON number")
