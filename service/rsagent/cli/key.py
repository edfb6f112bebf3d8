"""`rsagent key`: an API key, and what the service keeps of it."""

from __future__ import annotations

from rsagent.api.keys import Entry, hash_key, new_key, parse_line
from rsagent.errors import BadRequest


def make(name: str, rate: float | None, concurrency: int | None) -> tuple[str, str]:
    """A line for the key file, and the key. Raises BadRequest for a name that no line could hold."""
    key = new_key()
    line = Entry(name, hash_key(key), rate, concurrency).line()
    try:
        parse_line(line)
    except ValueError as error:
        raise BadRequest(f"{name!r} is no name for a key: {error}") from error
    return line, key
