"""The deployment's options, and that `deploy/serve.yaml` says what Ray and KubeRay take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from rsagent.segmenter.serve import environment
from rsagent.segmenter.serve.settings import RaySettings
from rsagent.settings import SegmenterSettings

pytestmark = pytest.mark.engines

YAML = Path(__file__).resolve().parents[3] / "deploy" / "serve.yaml"


@pytest.fixture
def app(head: RaySettings) -> Any:
    """The module; with the cluster, since this process reads its environment with the first import of Ray."""
    from rsagent.segmenter.serve import app

    return app


def test_the_options_are_ones_that_serve_takes(app: Any) -> None:
    built = app.build(SegmenterSettings(ray={"gpus": 0.25, "replicas": 2}, queue=10))
    deployment = built._bound_deployment
    assert deployment.name == "Segmenter"
    assert deployment.num_replicas == 2
    assert deployment.ray_actor_options["num_gpus"] == 0.25
    assert deployment.ray_actor_options["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == "1"
    assert deployment.max_queued_requests == -1, "the replica alone counts"
    assert deployment.max_ongoing_requests == app.UNBOUND
    router = deployment._deployment_config.request_router_config
    assert router.request_router_class == app.ROUTER
    assert router.get_request_router_class().__name__ == "ConsistentHashRouter"
    assert router.request_router_kwargs == {"num_fallback_replicas": 0}


def test_replicas_grow_where_more_are_allowed(app: Any) -> None:
    scale = app.options(SegmenterSettings(ray={"max_replicas": 3, "target_ongoing": 2}))["autoscaling_config"]
    assert (scale["min_replicas"], scale["max_replicas"], scale["target_ongoing_requests"]) == (1, 3, 2)
    assert app.options(SegmenterSettings(ray={"replicas": 3, "max_replicas": 3}))["num_replicas"] == 3


def test_the_yaml_is_valid_and_agrees_with_the_code(app: Any) -> None:
    from ray.serve.schema import ServeDeploySchema

    written = yaml.safe_load(YAML.read_text())
    schema = ServeDeploySchema.model_validate(written)
    assert schema.proxy_location == "Disabled"
    [application] = schema.applications
    assert (application.name, application.route_prefix) == (SegmenterSettings().ray.application, None)
    assert application.import_path == f"{app.__name__}:build"
    settings = SegmenterSettings.model_validate(application.args)
    [deployment] = written["applications"][0]["deployments"]
    assert deployment["name"] == app.DEPLOYMENT
    code = app.options(settings.model_copy(update={"ray": settings.ray.model_copy(update={"max_replicas": 4})}))
    assert deployment["autoscaling_config"] == code["autoscaling_config"]
    assert deployment["ray_actor_options"] == code["ray_actor_options"]
    assert deployment["ray_actor_options"]["runtime_env"]["env_vars"] == environment.REPLICA
