"""`POST /v1/segment`: one episode, answered as a document or told as it happens."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from rsagent.api import bodies, openapi, replay
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

    With an `Idempotency-Key` the request runs once, however often it is sent: whoever sends it again hears the same
    answer, from after the event that `Last-Event-ID` names, also while it still runs.
    """
    call = await _read(request, visit)
    stream = wants_stream(request.headers.get("accept", ""))
    episode = Episode(visit, call)
    if (key := replay.key_of(request.headers)) is not None:
        return await replay.respond(request, visit, episode, key, stream=stream)
    if stream:
        return EventStream(episode, visit.house.service.settings.server)
    body = await unless(episode.answer(), hung_up(request.receive), visit.house.drain.cut_off())
    return Response(body, media_type=bodies.JSON)


async def _read(request: Request, visit: Visit) -> bodies.Call:
    """The call in the request's body, its picture decoded in a worker."""
    if request.query_params:
        raise BadQuery("options go into the body (form fields, or `options` in JSON), not into the address")
    service = visit.house.service
    limits = service.settings.limits
    body = await bodies.read_body(request, limits)
    content_type = request.headers["content-type"]
    call = await service.offload(lambda: bodies.parse(content_type, body, limits))
    if isinstance(call, bodies.Call):
        return call
    addressed, deadline = call, visit.granted(call.options)
    data = await unless(visit.house.fetcher.fetch(addressed.url, deadline), hung_up(request.receive))
    return await service.offload(lambda: addressed.with_picture(data, limits))


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
