"""What FastAPI cannot see by itself: bodies that are parsed by hand, the stream's events, and problem documents."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from rsagent import errors
from rsagent.api.answers import EVENTS, SegmentAnswer
from rsagent.api.problems import MEDIA_TYPE, Problem, problem_of
from rsagent.api.requests import Options, SegmentRequest

DESCRIPTION = """Post a picture and a sentence; get the mask of what the sentence means. A policy model calls a
segmenter, looks at the mask drawn on the picture, and corrects itself over several turns.

Coordinates are pixels of the original picture, upright (EXIF orientation applied), boxes `x1, y1, x2, y2` with
exclusive ends. Every error is a problem document (RFC 9457) with a stable `code`. `/segment` is an alias of
`/v1/segment`.
"""

REF = "#/components/schemas/{model}"
_MODELS: list[type[BaseModel]] = [SegmentRequest, Options, Problem, *EVENTS.values()]

_EVENT_NOTE = """Server-sent events, each with a growing `id` and JSON in `data`, in this order: `accepted`; for each
turn `thought` (pieces of text), `action`, and `mask` if the turn made one; then exactly one `final` (the document that
JSON clients get) or `error` (a problem). Comment lines come while nothing happens. A refusal before the first event is
an ordinary HTTP error. `x-events` names the schema of each event's data."""

_EVENT_EXAMPLE = """id: 1
event: accepted
data: {"id":"3f2a…","image":{"width":640,"height":480},"query":"the red cup","max_turns":8,"deadline_ms":60000}

id: 2
event: thought
data: {"turn":1,"text":"<think>a cup, left of the plate"}

id: 3
event: action
data: {"turn":1,"thought":"a cup, left of the plate","action":{"tool":"segment","bbox":[120.0,88.0,210.0,190.0],…}}

id: 4
event: mask
data: {"mask_id":1,"mask":{"format":"coco_rle","size":[480,640],"counts":"…"},"bbox":[…],"area":5210,"score":0.93,…}

id: 5
event: final
data: {"id":"3f2a…","status":"segmented","stop_reason":"finished",…}
"""

_ANSWER_EXAMPLE = {
    "id": "3f2a9c0e6b5d4f1c8a7e2d9b0c1f4e6a",
    "status": "segmented",
    "stop_reason": "finished",
    "image": {"width": 640, "height": 480},
    "objects": [
        {
            "mask_id": 1,
            "mask": {"size": [480, 640], "format": "coco_rle", "counts": "PPYo0"},
            "bbox": [120.0, 88.0, 210.0, 190.0],
            "area": 5210,
            "score": 0.93,
        }
    ],
    "turns": [
        {
            "index": 1,
            "thought": "a cup, left of the plate",
            "action": {
                "tool": "segment",
                "bbox": [118.5, 86.4, 212.0, 192.1],
                "points": [],
                "base_mask": None,
                "frame": 0,
            },
            "observation": "mask 1: …",
            "mask_id": 1,
            "timings_ms": {"policy": 310.0, "segmenter": 80.0, "render": 2.1},
            "tokens": {"prompt": 120, "cached": 0, "completion": 41},
        }
    ],
    "timings_ms": {"policy": 310.0, "segmenter": 80.0, "render": 2.1, "queue": 0.0, "total": 402.6},
    "usage": {"prompt_tokens": 120, "cached_tokens": 0, "completion_tokens": 41, "turns": 1, "image_encodes": 1},
}


def problems(*kinds: type[errors.RSAgentError]) -> dict[int | str, dict[str, Any]]:
    """The responses of error classes, for a route's `responses`; several classes may share a status."""
    found: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        words = " ".join((kind.__doc__ or "").split())
        retry_after = 2 if kind is errors.Overloaded else None
        shown = problem_of(kind(words, retry_after=retry_after), "3f2a9c0e6b5d4f1c8a7e2d9b0c1f4e6a")
        response = found.setdefault(kind.status, {"description": words, "content": {MEDIA_TYPE: _problem_content()}})
        example = {"summary": kind.code, "value": shown.model_dump(exclude_none=True)}
        response["content"][MEDIA_TYPE]["examples"][kind.code] = example
    return found


def not_found(words: str) -> dict[int | str, dict[str, Any]]:
    """The 404 of a route, for its `responses`."""
    return {404: {"description": words, "content": {MEDIA_TYPE: {"schema": {"$ref": REF.format(model="Problem")}}}}}


def _problem_content() -> dict[str, Any]:
    return {"schema": {"$ref": REF.format(model="Problem")}, "examples": {}}


def _form_schema() -> dict[str, Any]:
    """The multipart form: the picture, the sentence, and each option as a field."""
    options = Options.model_json_schema(ref_template=REF)
    return {
        "type": "object",
        "required": ["image", "query"],
        "additionalProperties": False,
        "properties": {
            "image": {"type": "string", "format": "binary", "description": "A JPEG, PNG or WebP file."},
            "query": {"type": "string", "description": "What to segment, in words."},
            **{name: field for name, field in options["properties"].items() if name != "include"},
            "include": {"type": "string", "description": options["properties"]["include"]["description"]},
            "options": {"type": "string", "description": "All options as one JSON object, instead of fields."},
        },
    }


def _body() -> dict[str, Any]:
    example = {"image": "data:image/jpeg;base64,/9j/4AAQ…", "query": "the red cup", "options": {"max_turns": 5}}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _form_schema()},
            "application/json": {"schema": {"$ref": REF.format(model="SegmentRequest")}, "example": example},
        },
    }


def _stream_content() -> dict[str, Any]:
    names = {**{name: model.__name__ for name, model in EVENTS.items()}, "error": "Problem"}
    return {
        "schema": {"type": "string", "description": _EVENT_NOTE},
        "example": _EVENT_EXAMPLE,
        "x-events": {name: {"$ref": REF.format(model=model)} for name, model in names.items()},
    }


_HEADERS = [
    {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "A name of your choice, such as a UUID: the request runs once, however often it is sent with "
        "it, and each time the same answer is told. It goes on for a while when the connection is lost.",
        "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    },
    {
        "name": "Last-Event-ID",
        "in": "header",
        "required": False,
        "description": "With an Idempotency-Key, on a stream that broke off: the id of the last event that arrived. "
        "The stream goes on after it.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,9}$"},
    },
]

_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, where the service asks for one."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same, in another header."},
}

SEGMENT: dict[str, Any] = {
    "tags": ["segmentation"],
    "summary": "Segment what a sentence means",
    "response_model": SegmentAnswer,
    "response_description": "The answer; `status` says whether there is one.",
    "responses": {
        200: {
            "content": {"application/json": {"example": _ANSWER_EXAMPLE}, "text/event-stream": _stream_content()},
        },
        408: {
            "description": "The body did not arrive in time.",
            "content": {MEDIA_TYPE: {"schema": {"$ref": REF.format(model="Problem")}}},
        },
        **problems(
            errors.BadRequest,
            errors.BadImage,
            errors.BadImageUrl,
            errors.Unauthorized,
            errors.Conflict,
            errors.TooLarge,
            errors.UnsupportedFormat,
            errors.BadQuery,
            errors.ContextOverflow,
            errors.Overloaded,
            errors.RateLimited,
            errors.RSAgentError,
            errors.PolicyError,
            errors.SegmenterError,
            errors.ShuttingDown,
            errors.Unavailable,
            errors.DeadlineExceeded,
        ),
    },
    "openapi_extra": {
        "requestBody": _body(),
        "parameters": _HEADERS,
        "security": [{}, {"bearer": []}, {"header": []}],
    },
}
"""How `POST /v1/segment` is documented: keyword arguments of its route."""


def batch(item: type[BaseModel], row: type[BaseModel]) -> dict[str, Any]:
    """How `POST /v1/segment/batch` is documented; OpenAPI knows no lines, so a line is what has a schema."""
    _MODELS.extend((item, row))
    lines = "application/x-ndjson"
    given = {"image": "data:image/jpeg;base64,/9j/4AAQ…", "query": "the red cup", "id": "cup-1"}
    shown = {"index": 0, "id": "cup-1", "answer": _ANSWER_EXAMPLE}
    return {
        "tags": ["segmentation"],
        "summary": "Segment many pictures",
        "responses": {
            200: {
                "description": "A row for each line, as they are done.",
                "content": {lines: {"schema": {"$ref": REF.format(model=row.__name__)}, "example": shown}},
            },
            408: SEGMENT["responses"][408],
            **problems(
                errors.BadRequest,
                errors.Unauthorized,
                errors.TooLarge,
                errors.UnsupportedFormat,
                errors.BadQuery,
                errors.Overloaded,
                errors.ShuttingDown,
                errors.Unavailable,
            ),
        },
        "openapi_extra": {
            "requestBody": {
                "required": True,
                "content": {lines: {"schema": {"$ref": REF.format(model=item.__name__)}, "example": given}},
            }
        },
    }


def install(app: FastAPI) -> None:
    """Add to the document of `app` the models that only hand-written parts refer to."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        document = plain()
        _, extra = models_json_schema([(model, "serialization") for model in _MODELS], ref_template=REF)
        document.setdefault("components", {})["securitySchemes"] = _SECURITY
        schemas = document["components"].setdefault("schemas", {})
        for name, schema in extra.get("$defs", {}).items():
            schemas.setdefault(name, schema)
        return document

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's own way to extend the document
