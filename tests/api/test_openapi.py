from __future__ import annotations

import json
import re
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # brought by openapi-spec-validator, without types
import pytest
from openapi_spec_validator import validate
from tests.api.stage import SEGMENT, Cast, on_stage
from tests.api.test_bad_requests import IMAGE

from rsagent.api.requests import Options


@pytest.fixture
async def document() -> dict[str, Any]:
    async with on_stage() as stage:
        response = await stage.client.get("/openapi.json")
    found: dict[str, Any] = response.json()
    return found


def schema_of(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {**document, "$ref": f"#/components/schemas/{name}"}


async def test_the_document_is_valid_and_whole(document: dict[str, Any]) -> None:
    validate(document)
    names = set(document["components"]["schemas"])
    assert set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document))) <= names


async def test_the_stream_and_the_problems_are_described(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/segment"]["post"]
    stream = operation["responses"]["200"]["content"]["text/event-stream"]
    assert set(stream["x-events"]) == {"accepted", "thought", "action", "mask", "final", "error"}
    for status in ("400", "408", "413", "415", "422", "429", "500", "502", "503", "504"):
        assert "application/problem+json" in operation["responses"][status]["content"], status
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"image", "query", "options", *Options.model_fields}


async def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/segment"]["post"]
    answer = operation["responses"]["200"]["content"]["application/json"]["example"]
    jsonschema.validate(answer, schema_of(document, "SegmentAnswer"))
    request = operation["requestBody"]["content"]["application/json"]["example"]
    jsonschema.validate(request, schema_of(document, "SegmentRequest"))
    for response in operation["responses"].values():
        for example in response["content"].get("application/problem+json", {}).get("examples", {}).values():
            jsonschema.validate(example["value"], schema_of(document, "Problem"))


async def test_what_is_answered_fits_what_is_described(document: dict[str, Any]) -> None:
    script = (
        "nonsense",
        '<tool_call>{"name": "zoom", "arguments": {"bbox_2d": [0, 0, 500, 500]}}</tool_call>',
        SEGMENT,
    )
    events = document["paths"]["/v1/segment"]["post"]["responses"]["200"]["content"]["text/event-stream"]["x-events"]
    seen = set()
    async with on_stage(Cast(script)) as stage:
        for event in await stage.stream(include="turns,thoughts,overlays", mask_format="polygon"):
            jsonschema.validate(event.data, {**document, **events[event.name]})
            seen.add(event.name)
        failed = await stage.client.post("/v1/segment", json={"image": IMAGE, "query": ""})
    jsonschema.validate(failed.json(), schema_of(document, "Problem"))
    assert seen == {"accepted", "thought", "action", "mask", "final"}
