"""A batch's requests: a JSON object a line."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rsagent.errors import RSAgentError


class Item(BaseModel):
    """A request. `image` is a path relative to the manifest; fields that are not named here are left alone."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)

    image: str = Field(min_length=1)
    query: str = Field(min_length=1)
    id: str = ""
    image_id: int | None = None
    category_id: int = 1


def read(path: Path) -> list[Item]:
    """The requests in order; one without an id is called by its line's number, as COCO's `image_id` is.

    Raises RSAgentError, naming the line, for what is no request and for an id that is there twice.
    """
    items: dict[str, tuple[int, Item]] = {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            item = _parse(line, f"{path}:{number}", number)
            if item.id in items:
                raise RSAgentError(f"{path}: lines {items[item.id][0]} and {number} have the same id, {item.id!r}")
            items[item.id] = number, item
    if not items:
        raise RSAgentError(f'{path} holds no request: a line is {{"image": "cup.jpg", "query": "the red cup"}}')
    return [item for _, item in items.values()]


def _parse(line: bytes, place: str, number: int) -> Item:
    try:
        item = Item.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RSAgentError(f"{place}: {where + ': ' if where else ''}{first['msg']}") from error
    numbered = {"id": item.id or str(number), "image_id": number if item.image_id is None else item.image_id}
    return item.model_copy(update=numbered)
