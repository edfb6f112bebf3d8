"""The deployment: how many replicas, on what, and which of them an image belongs to.

`serve run deploy/serve.yaml` and KubeRay build it by `rsagent.segmenter.serve.app:build`; `cluster.py` does the same
from the settings. What the YAML says under `deployments` goes before what is said here.
"""

from __future__ import annotations

from typing import Any

from ray import serve
from ray.serve import Application

from rsagent.segmenter.serve.environment import REPLICA
from rsagent.segmenter.serve.replica import SegmenterReplica
from rsagent.segmenter.serve.settings import RaySettings
from rsagent.settings import SegmenterSettings

DEPLOYMENT = "Segmenter"
ROUTER = "ray.serve.experimental.consistent_hash_router:ConsistentHashRouter"
UNBOUND = 1 << 20
"""Calls at once that no replica ever has."""


def build(args: SegmenterSettings | dict[str, Any]) -> Application:
    """The application with these settings of the segmenter; a YAML's `args` come as a dictionary."""
    return application(SegmenterSettings.model_validate(args))


def application(settings: SegmenterSettings, replica: type[SegmenterReplica] = SegmenterReplica) -> Application:
    """The same, of another class of replicas where one is given."""
    return serve.deployment(replica, name=DEPLOYMENT, **options(settings)).bind(settings.model_dump(mode="json"))


def options(settings: SegmenterSettings) -> dict[str, Any]:
    """Serve's options for the deployment."""
    return {
        **_scale(settings.ray),
        "ray_actor_options": {
            "num_cpus": settings.ray.cpus,
            "num_gpus": settings.ray.gpus,
            "runtime_env": {"env_vars": REPLICA},
        },
        "request_router_config": {
            "request_router_class": ROUTER,
            # No second choice: one that is merely busy would make another replica encode the image as well.
            "request_router_kwargs": {"num_fallback_replicas": 0},
        },
        # Replicas count for themselves and refuse exactly what is beyond their queue. Bounds of Serve's count in each
        # caller's router, which tries again slower and slower: they are set where they never bind.
        "max_ongoing_requests": UNBOUND,
        "max_queued_requests": -1,
        "health_check_period_s": 5,
        "health_check_timeout_s": 30,
        "graceful_shutdown_timeout_s": 20,
        "max_constructor_retry_count": 3,
    }


def _scale(ray: RaySettings) -> dict[str, Any]:
    if ray.max_replicas is None or ray.max_replicas == ray.replicas:
        return {"num_replicas": ray.replicas}
    return {
        "autoscaling_config": {
            "min_replicas": ray.replicas,
            "max_replicas": ray.max_replicas,
            "target_ongoing_requests": ray.target_ongoing,
            "upscale_delay_s": 5,
            # A replica that leaves takes its embeddings along, so that it should not leave for a lull.
            "downscale_delay_s": 120,
        }
    }
