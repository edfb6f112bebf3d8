from __future__ import annotations

import pytest

from rsagent.api.segment import wants_stream


@pytest.mark.parametrize(
    ("accept", "stream"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/event-stream", True),
        ("Text/Event-Stream", True),
        ("text/event-stream, */*;q=0.1", True),
        ("text/event-stream;q=0.5, application/json", False),
        ("application/json;q=0.2, text/event-stream;q=0.9", True),
        ("text/event-stream;q=0", False),
        ("text/event-stream;charset=utf-8", True),
        ("text/event-stream;q=nonsense", True),
        ("text/html", False),
        (",;=", False),
    ],
)
def test_who_gets_events(accept: str, stream: bool) -> None:
    assert wants_stream(accept) is stream
