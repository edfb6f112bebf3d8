"""What operators and their tools ask: alive, ready, and the counts."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from rsagent.api.house import HouseDependency

router = APIRouter(tags=["operations"])


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """Whether a request would be served now, and by what."""

    status: Literal["ready", "unready", "draining"]
    policy: bool
    segmenter: bool
    policy_name: str
    segmenter_variant: str


@router.get("/livez")
async def livez() -> Alive:
    """Whether the process answers; says nothing of the engines."""
    return Alive()


@router.get("/readyz", responses={503: {"model": Readiness, "description": "Not ready, or shutting down."}})
async def readyz(house: HouseDependency, response: Response) -> Readiness:
    """Whether both engines would serve now."""
    service = house.service
    engines = await service.ready()
    status: Literal["ready", "unready"] = "ready" if all(engines.values()) else "unready"
    readiness = Readiness(
        status="draining" if house.gate.closed else status,
        policy_name=service.policy.name,
        segmenter_variant=service.segmenter.variant,
        **engines,
    )
    response.status_code = 200 if readiness.status == "ready" else 503
    return readiness


@router.get(
    "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
)
async def metrics(house: HouseDependency) -> Response:
    """Prometheus metrics."""
    return Response(generate_latest(house.service.metrics.registry), media_type=CONTENT_TYPE_LATEST)
