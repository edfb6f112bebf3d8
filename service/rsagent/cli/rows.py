"""A batch's answers: a JSON object a line. An id that was asked again has several rows; the last one counts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rsagent.cli.manifest import Item
from rsagent.errors import RSAgentError
from rsagent.lines import Lines


@dataclass(frozen=True, slots=True)
class Place:
    """Where the last row of an id is, and what it answers."""

    offset: int
    image: str
    query: str
    asked: Mapping[str, Any]
    failed: bool


@dataclass(slots=True, eq=False)
class Rows:
    """The open file. Use as a context manager."""

    lines: Lines
    asked: Mapping[str, Any] = field(default_factory=dict)
    """What of the requests' options decides their answers, as it stands in every row of them."""
    places: dict[str, Place] = field(default_factory=dict)
    failed: int = 0
    """Ids whose last row is an error."""

    @classmethod
    def open(cls, path: Path, asked: Mapping[str, Any] | None = None) -> Self:
        """The file with what earlier runs left in it, locked against others.

        Raises RSAgentError where it cannot be opened, is no file of answers, or another run writes to it.
        """
        rows = cls(Lines.open(path), asked or {})
        try:
            for offset, line in rows.lines.whole():
                rows._note(rows._parse(line, offset), offset)
        except BaseException:
            rows.lines.close()
            raise
        return rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lines.close()

    def missing(self, items: Sequence[Item], again: bool) -> list[Item]:
        """What is still to be asked; with `again`, errors are.

        Raises RSAgentError where a row answers something else than the item of its id asks, or was asked otherwise.
        """
        waiting = []
        for item in items:
            place = self.places.get(item.id)
            if place is not None and (place.image, place.query) != (item.image, item.query):
                raise RSAgentError(
                    f"{self.lines.path} belongs to another manifest: its row {item.id!r} is about {place.query!r} in "
                    f"{place.image}; choose another output"
                )
            if place is None or (again and place.failed):
                waiting.append(item)
            elif place.asked != self.asked:
                raise RSAgentError(
                    f"{self.lines.path} was asked with {_told(place.asked)}, not with {_told(self.asked)}: give the"
                    " same options, or choose another output"
                )
        return waiting

    def add(self, item: Item, told: dict[str, Any]) -> None:
        """Append a row: the item and what came of it."""
        asked = {"asked": self.asked} if self.asked else {}
        row = {"id": item.id, "image": item.image, "query": item.query, **asked, **told}
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        self._note(row, self.lines.append(line))

    def row(self, item: Item) -> dict[str, Any]:
        """The last row of an item that has one."""
        found: dict[str, Any] = json.loads(self.lines.at(self.places[item.id].offset))
        return found

    def _note(self, row: dict[str, Any], offset: int) -> None:
        before, failed = self.places.get(row["id"]), "error" in row
        self.failed += failed - (before is not None and before.failed)
        self.places[row["id"]] = Place(offset, row["image"], row["query"], row.get("asked", {}), failed)

    def _parse(self, line: bytes, offset: int) -> dict[str, Any]:
        try:
            row = json.loads(line)
            if isinstance(row, dict) and {"id", "image", "query"} <= row.keys():
                return row
        except ValueError:
            pass
        raise RSAgentError(f"{self.lines.path} is no file of answers (at byte {offset}): choose another output")


def _told(asked: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in asked.items()) or "the service's own options"


def write_coco(rows: Rows, items: Sequence[Item], path: Path) -> int:
    """Write every mask as COCO's results format spells it; how many there are. The file appears whole or not at all.

    A box is [x, y, width, height] there, and `segmentation` the compressed run lengths. Raises RSAgentError where the
    file cannot be written.
    """
    try:
        return _write_coco(rows, items, path)
    except OSError as error:
        raise RSAgentError(
            f"cannot write {path}: {error.strerror or error}; the answers are kept, and the same command"
            " with another --coco writes them"
        ) from error


def _write_coco(rows: Rows, items: Sequence[Item], path: Path) -> int:
    part = path.with_name(path.name + ".part")
    count = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with part.open("w", encoding="utf-8") as out:
        out.write("[")
        for item in items:
            for result in _results(item, rows):
                out.write((",\n " if count else "\n ") + json.dumps(result))
                count += 1
        out.write("\n]\n")
    part.replace(path)
    return count


def _results(item: Item, rows: Rows) -> Iterator[dict[str, Any]]:
    if item.id not in rows.places:
        return
    for found in rows.row(item).get("answer", {}).get("objects", []):
        x1, y1, x2, y2 = found["bbox"]
        yield {
            "image_id": item.image_id,
            "category_id": item.category_id,
            "segmentation": {"size": found["mask"]["size"], "counts": found["mask"]["counts"]},
            "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
            "score": found["score"],
        }
