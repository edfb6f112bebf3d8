"""multipart/form-data from a body that is already in memory. Nothing is written to disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from rsagent.errors import BadRequest

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS = 32


@dataclass
class _Collector:
    """Gathers what the parser calls out."""

    parts: list[tuple[str, bytes]] = field(default_factory=list)
    complete: bool = False
    _data: bytearray = field(default_factory=bytearray)
    _header: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _disposition: bytes = b""

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_part_data": lambda data, start, end: self._data.extend(data[start:end]),
            "on_part_end": self._finish,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.parts) >= MAX_PARTS:
            raise BadRequest(f"the form has more than {MAX_PARTS} fields")
        self._data, self._disposition = bytearray(), b""

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _finish(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"")
        if not name:
            raise BadRequest("a form field has no name")
        self.parts.append((name.decode("utf-8", "replace"), bytes(self._data)))

    def _end(self) -> None:
        self.complete = True


def parse_form(content_type: str, body: bytes) -> dict[str, list[bytes]]:
    """The fields of a form by name, files among them, each with its values in order. Raises BadRequest."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise BadRequest("the Content-Type of the form names no boundary: let your HTTP library write it")
    collector = _Collector()
    try:
        MultipartParser(boundary, collector.callbacks()).write(body)
    except FormParserError as error:
        raise BadRequest("the form cannot be read: check how it is put together") from error
    if not collector.complete:
        raise BadRequest("the form is cut short: its closing boundary is missing")
    fields: dict[str, list[bytes]] = {}
    for name, data in collector.parts:
        fields.setdefault(name, []).append(data)
    return fields
