"""`POST /v1/segment`: one episode, answered as a document or told as it happens."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from rsagent.api import bodies, openapi
from rsagent.api.episode import Episode
from rsagent.api.house import Visit, VisitDependency
from rsagent.api.stream import EventStream
from rsagent.api.waiting import hung_up, unless
from rsagent.errors import BadQuery

router = APIRouter()


@router.post("/v1/segment", **openapi.SEGMENT)
@router.post("/segment", include_in_schema=False)
async def segment(request: Request, visit: VisitDependency) -> Response:
    """Find what a sentence means in a picture.

    Send `multipart/form-data` (fields `image`, `query` and the options) or JSON. With
    `Accept: text/event-stream` the policy's turns arrive as they happen; otherwise one JSON document does.
    """
    episode = Episode(visit, await _read(request, visit))
    if wants_stream(request.headers.get("accept", "")):
        return EventStream(episode, visit.house.service.settings.server)
    body = await unless(episode.answer(), hung_up(request.receive), visit.house.drain.cut_off())
    return Response(body, media_type=bodies.JSON)


async def _read(request: Request, visit: Visit) -> bodies.Call:
    """The call in the request's body, decoded in a worker."""
    if request.query_params:
        raise BadQuery("options go into the body (form fields, or `options` in JSON), not into the address")
    service = visit.house.service
    body = await bodies.read_body(request, service.settings.limits)
    content_type = request.headers["content-type"]
    return await service.offload(lambda: bodies.parse(content_type, body, service.settings.limits))


def wants_stream(accept: str) -> bool:
    """Whether a client prefers events to a document; without a word it gets the document."""
    weights = {"text/event-stream": 0.0, bodies.JSON: 0.0}
    for item in accept.lower().split(","):
        kind, _, parameters = item.partition(";")
        if kind.strip() in weights:
            weights[kind.strip()] = _quality(parameters)
    return weights["text/event-stream"] > weights[bodies.JSON]


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 1.0
