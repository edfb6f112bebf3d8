"""What a client may ask for. The models are strict and closed: what is not understood is refused, with advice."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rsagent.api.starting import MOST, StartMove
from rsagent.errors import BadQuery, BadRequest
from rsagent.masks import MaskFormat

_NO_TEXT = ("Cc", "Cs")
"""Unicode's control characters and lone surrogates."""


class Include(StrEnum):
    """Parts of an answer that can be left out."""

    TURNS = "turns"
    THOUGHTS = "thoughts"
    OVERLAYS = "overlays"


class Options(BaseModel):
    """How to answer. Everything has a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mask_format: MaskFormat = Field(MaskFormat.COCO_RLE, description="How masks are spelled.")
    max_turns: int | None = Field(None, ge=1, description="The most turns the policy gets.", examples=[5])
    deadline_ms: int | None = Field(
        None,
        ge=1,
        description="Milliseconds from arrival after which the best mask so far is returned.",
        examples=[20000],
    )
    include: tuple[Include, ...] = Field(
        (Include.TURNS, Include.THOUGHTS),
        description="`turns` and `thoughts` are there by default; `overlays` adds what the policy saw, as JPEG. "
        "In a form: names with commas between them.",
    )
    seed: int | None = Field(None, ge=0, le=2**63 - 1, description="Makes sampling repeatable.")
    temperature: float = Field(
        0.0, ge=0.0, le=2.0, allow_inf_nan=False, description="0 takes the likeliest token each time."
    )
    start: tuple[StartMove, ...] = Field(
        (),
        max_length=MOST,
        description="Moves made before the policy goes on: clicks and boxes of yours, and before them the segments "
        "and zooms of an earlier answer (its `turns[].action`, as they are). They do not count as the policy's turns. "
        "In a form: JSON.",
    )


class SegmentRequest(BaseModel):
    """The JSON form of a request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = Field(
        description="A JPEG, PNG or WebP file, base64, or a `data:` URL; a public https address only where the service "
        "was set up to fetch them.",
        json_schema_extra={"contentEncoding": "base64"},
    )
    query: str = Field(description="What to segment, in words.", examples=["the red cup left of the plate"])
    options: Options = Options()


class BatchItem(SegmentRequest):
    """A line of a batch."""

    id: str | int | None = Field(None, description="Yours; it is in the answer's row.")


def parse_json(body: bytes, model: type[SegmentRequest] = SegmentRequest) -> SegmentRequest:
    """A request from JSON. Raises BadRequest where it is no JSON, BadQuery where it says something else."""
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise _refusal(error, model) from error


def parse_options(text: str) -> Options:
    """Options from a form's `options` field, which holds JSON. Raises as `parse_json`."""
    try:
        return Options.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise _refusal(error, Options) from error


def parse_fields(fields: Mapping[str, str]) -> Options:
    """Options from a form's own fields, all of them text. Raises BadQuery."""
    try:
        return Options.model_validate({**fields, **_listed(fields.get("include")), **_moved(fields.get("start"))})
    except ValidationError as error:
        raise _refusal(error, Options) from error


def _listed(include: str | None) -> dict[str, list[str]]:
    """A form's `include`: names with commas between them."""
    return {} if include is None else {"include": [name.strip() for name in include.split(",") if name.strip()]}


def _moved(start: str | None) -> dict[str, Any]:
    """A form's `start`: JSON."""
    if start is None:
        return {}
    try:
        return {"start": json.loads(start)}
    except (ValueError, RecursionError) as error:
        raise BadRequest("start is no JSON: a list of moves is expected there") from error


def check_query(query: str, longest: int) -> str:
    """The sentence with its white space tidied. Raises BadQuery if it is empty, too long or no text."""
    tidy = " ".join(query.split())
    if not tidy:
        raise BadQuery("the query is empty: say what to segment")
    if len(tidy) > longest:
        raise BadQuery(f"the query has {len(tidy)} characters; at most {longest} are taken")
    if any(unicodedata.category(character) in _NO_TEXT for character in tidy):
        raise BadQuery("the query holds control characters: send plain text")
    return tidy


def _refusal(error: ValidationError, model: type[BaseModel]) -> BadRequest:
    items = error.errors(include_url=False, include_context=False)
    if items[0]["type"] == "json_invalid":
        return BadRequest(f"this is no JSON ({items[0]['msg'].removeprefix('Invalid JSON: ')}): check the body")
    return BadQuery("; ".join(_advice(dict(item), model) for item in items[:3]))


def _advice(item: dict[str, Any], model: type[BaseModel]) -> str:
    path = ".".join(str(part) for part in item["loc"]) or "the body"
    match item["type"]:
        case "missing":
            return f"{path} is missing"
        case "extra_forbidden" if "start" in item["loc"][:-1]:
            return f"{path} is unknown: a move is an answer's action, with its thought if it had one"
        case "extra_forbidden":
            within = Options if item["loc"][0] == "options" else model
            return f"{path} is unknown; known here: {', '.join(within.model_fields)}"
        case _:
            return f"{path}: {item['msg']}"
