"""The chart: linted and rendered by helm, validated strictly, and what it promises."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]
from tests.deploy import chart
from tests.deploy.chart import Object
from tests.deploy.customresources import SCHEMAS

from rsagent.api.server import LAST_WORDS
from rsagent.engines.command import MODEL, STREAMED, Installed, launch
from rsagent.engines.settings import VLLMSettings
from rsagent.settings import Settings

ROOT = Path(__file__).parents[2]
OLDEST, LATEST = "1.29", "1.37"

pytestmark = pytest.mark.skipif(
    bool(chart.available()) and not os.environ.get("CI"), reason="there is no helm: python deploy/helm/fetch.py"
)

every_variant = pytest.mark.parametrize("name", list(chart.VARIANTS))


def toml(objects: tuple[Object, ...]) -> dict[str, Any]:
    return tomllib.loads(chart.one(objects, "ConfigMap", "-gateway")["data"]["rsagent.toml"])


@every_variant
def test_helm_finds_nothing_to_complain_about(name: str) -> None:
    assert "0 chart(s) failed" in chart.run("lint", "--strict", str(chart.CHART), values=chart.VARIANTS[name])


@every_variant
@pytest.mark.parametrize("version", [OLDEST, LATEST])
def test_every_object_is_valid(name: str, version: str) -> None:
    for item in chart.variant(name):
        if item["kind"] in SCHEMAS:
            jsonschema.validate(item, SCHEMAS[item["kind"]])
            item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": item["metadata"]}
        kubernetes_validate.validate(item, version, strict=True)


@every_variant
@pytest.mark.parametrize("version", [OLDEST, LATEST])
def test_every_pod_template_is_valid(name: str, version: str) -> None:
    for pod in chart.pods(chart.variant(name)).values():
        kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod", **pod}, version, strict=True)


def test_validation_is_strict() -> None:
    service = chart.one(chart.variant("default"), "Service", "-gateway")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**service, "spec": {**service["spec"], "prots": []}}, LATEST, strict=True)
    ray = chart.one(chart.variant("default"), "RayService", "")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**ray, "spec": {**ray["spec"], "serveConfig": ""}}, SCHEMAS["RayService"])


@every_variant
def test_every_name_is_used_once_and_short(name: str) -> None:
    names = [(item["kind"], item["metadata"]["name"]) for item in chart.variant(name)]
    assert len(set(names)) == len(names)
    assert all(len(each) <= 63 for _, each in names)


@every_variant
def test_pods_meet_the_restricted_standard(name: str) -> None:
    for pod in chart.pods(chart.variant(name)).values():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert all(
            set(volume) & {"emptyDir", "configMap", "secret", "persistentVolumeClaim"} for volume in spec["volumes"]
        )
        for container in chart.containers(pod):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"]


@every_variant
def test_every_mount_has_its_volume_and_every_secret_is_by_reference(name: str) -> None:
    for pod in chart.pods(chart.variant(name)).values():
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        for container in chart.containers(pod):
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            for variable in container.get("env", ()):
                if any(word in variable["name"] for word in ("KEY", "TOKEN")) and "PATH" not in variable["name"]:
                    assert "secretKeyRef" in variable["valueFrom"], variable["name"]


@every_variant
def test_the_service_accepts_its_settings(name: str) -> None:
    objects = chart.variant(name)
    settings = Settings(**toml(objects))
    assert settings.profile == chart.VARIANTS[name].get("profile", "cluster")
    assert settings.server.host == "0.0.0.0"
    if settings.profile == "cluster":
        assert (settings.policy.kind, settings.segmenter.kind) == ("openai", "ray")
        assert settings.segmenter.ray.deploy is False, "the RayService deploys"


def test_values_become_settings() -> None:
    settings = Settings(**toml(chart.variant("everything")))
    assert (settings.limits.inflight, settings.limits.queue) == (16, 32)
    assert settings.policy.openai.dialect == "qwen3-vl"
    assert settings.keys.file == "/etc/rsagent/keys/keys.txt"


@every_variant
def test_the_end_leaves_time_for_the_drain(name: str) -> None:
    objects = chart.variant(name)
    server = Settings(**toml(objects)).server
    grace = chart.one(objects, "Deployment", "-gateway")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > server.linger + server.drain + LAST_WORDS


@every_variant
def test_probes_ask_what_they_should(name: str) -> None:
    (gateway,) = chart.one(chart.variant(name), "Deployment", "-gateway")["spec"]["template"]["spec"]["containers"]
    asked = {probe: gateway[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
    assert asked == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
    for pod in chart.pods(chart.variant(name)).values():
        assert all("livenessProbe" in container for container in chart.containers(pod))


def test_embedded_needs_nothing_beside_it() -> None:
    objects = chart.variant("embedded")
    assert not chart.kinds(objects, "RayService")
    assert not chart.kinds(objects, "Secret")
    assert len(chart.kinds(objects, "Deployment")) == 1
    assert "initContainers" not in chart.one(objects, "Deployment", "-gateway")["spec"]["template"]["spec"]


def test_each_engine_has_an_address_and_the_gateway_knows_them() -> None:
    objects = chart.variant("everything")
    urls = Settings(**toml(objects)).policy.openai.urls
    assert urls == ("http://demo-rsagent-policy-0:8000/v1", "http://demo-rsagent-policy-1:8000/v1")
    for number in (0, 1):
        service = chart.one(objects, "Service", f"-policy-{number}")["spec"]["selector"]
        engine = chart.one(objects, "Deployment", f"-policy-{number}")["spec"]["template"]["metadata"]["labels"]
        assert service.items() <= engine.items()
        assert service["rsagent.io/engine"] == str(number)


def test_vllm_is_started_as_the_service_would() -> None:
    pod = chart.one(chart.variant("default"), "Deployment", "-policy-0")["spec"]["template"]["spec"]
    words = [word.partition("=")[0] for word in pod["containers"][0]["args"]]
    ours = launch(
        VLLMSettings(),
        python=Path("python3"),
        found=Installed("gpu", True),
        directory=Path("/models/nano"),
        max_context=8192,
        port=8000,
        key="k",
        inherited={},
    )
    assert set(words) == {word for word in ours.command if word.startswith("--")}
    assert {f"--served-model-name={MODEL}", f"--stream-interval={STREAMED}"} <= set(pod["containers"][0]["args"])
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_the_pool_is_that_of_serve_yaml() -> None:
    shipped = yaml.safe_load((ROOT / "deploy" / "serve.yaml").read_text())
    ray = chart.one(chart.variant("default"), "RayService", "")
    assert yaml.safe_load(ray["spec"]["serveConfigV2"]) == shipped


def test_values_change_the_pool_and_nothing_else_of_it() -> None:
    ray = chart.one(chart.variant("everything"), "RayService", "")
    (application,) = yaml.safe_load(ray["spec"]["serveConfigV2"])["applications"]
    (deployment,) = application["deployments"]
    assert application["args"] == {
        "variant": "vit_b",
        "path": "/models/sam.pth",
        "cache_bytes": 1073741824,
        "queue": 64,
    }
    assert deployment["name"] == "Segmenter"
    assert deployment["ray_actor_options"]["num_gpus"] == 0.25
    assert deployment["ray_actor_options"]["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == "1"


def test_the_gateway_is_a_node_of_the_pool_before_it_serves() -> None:
    objects = chart.variant("default")
    spec = chart.one(objects, "Deployment", "-gateway")["spec"]["template"]["spec"]
    (node,) = spec["initContainers"]
    address = Settings(**toml(objects)).segmenter.ray.address
    assert node["restartPolicy"] == "Always", "a sidecar, which ends after the service"
    assert f"--address={address}" in node["args"]
    assert "--num-cpus=0" in node["args"]
    assert address == f"{chart.one(objects, 'RayService', '')['metadata']['name']}-head-svc:6379"
    shared = {mount["mountPath"] for mount in node["volumeMounts"]}
    assert shared == {"/tmp", "/dev/shm"} <= {mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}


def test_one_token_for_all_of_ray() -> None:
    objects = chart.variant("default")
    secret = chart.one(objects, "Secret", "-engines")["metadata"]["name"]
    cluster = chart.one(objects, "RayService", "")["spec"]["rayClusterConfig"]
    assert cluster["authOptions"] == {"mode": "token", "secretName": secret}
    assert {"auth_token", "policy_api_key"} <= chart.one(objects, "Secret", "-engines")["data"].keys()


def peers(rules: list[Object]) -> list[str]:
    """Who is named in network rules: components of ours, and namespaces; `anybody` where a rule names none."""
    found = []
    for rule in rules:
        for peer in rule.get("from", [{}]):
            pod = peer.get("podSelector", {}).get("matchLabels", {})
            space = peer.get("namespaceSelector", {}).get("matchLabels", {})
            found.append(
                pod.get("app.kubernetes.io/component") or space.get("kubernetes.io/metadata.name") or "anybody"
            )
    return found


def test_engines_are_reached_by_the_gateway_only() -> None:
    objects = chart.variant("default")
    policy = chart.one(objects, "NetworkPolicy", "-policy")["spec"]
    segmenter = chart.one(objects, "NetworkPolicy", "-segmenter")["spec"]
    gateway = chart.one(objects, "NetworkPolicy", "-gateway")["spec"]
    assert peers(policy["ingress"]) == ["gateway", "monitoring"]
    assert [port["port"] for rule in policy["ingress"] for port in rule["ports"]] == [8000]
    assert policy["egress"] == [], "the packaged model needs no network"
    assert peers(segmenter["ingress"]) == ["gateway", "segmenter", "kuberay-system", "monitoring"]
    assert peers(gateway["ingress"])[0] == "anybody"
    assert {} not in gateway["egress"]


@every_variant
def test_every_pod_has_its_network_policy(name: str) -> None:
    objects = chart.variant(name)
    selectors = [item["spec"]["podSelector"]["matchLabels"] for item in chart.kinds(objects, "NetworkPolicy")]
    for pod in chart.pods(objects).values():
        assert any(selector.items() <= pod["metadata"]["labels"].items() for selector in selectors)


@pytest.mark.parametrize(("name", "kind"), [("embedded", "HorizontalPodAutoscaler"), ("everything", "ScaledObject")])
def test_autoscaling_is_on_work_in_flight(name: str, kind: str) -> None:
    objects = chart.variant(name)
    (scaler,) = [item for item in objects if item["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")]
    assert scaler["kind"] == kind
    assert {"rsagent_inflight", "rsagent_queue_depth"} <= set(
        yaml.safe_dump(scaler).replace("(", " ").replace("{", " ").split()
    )
    gateway = chart.one(objects, "Deployment", "-gateway")
    assert scaler["spec"]["scaleTargetRef"]["name"] == gateway["metadata"]["name"]
    assert "replicas" not in gateway["spec"], "helm would undo what the autoscaler did"


@every_variant
def test_disruption_budgets_and_services_find_their_pods(name: str) -> None:
    objects = chart.variant(name)
    labels = [pod["metadata"]["labels"] for pod in chart.pods(objects).values()]
    wanted = [item["spec"]["selector"]["matchLabels"] for item in chart.kinds(objects, "PodDisruptionBudget")]
    wanted += [item["spec"]["selector"] for item in chart.kinds(objects, "Service")]
    assert wanted
    for selector in wanted:
        assert any(selector.items() <= each.items() for each in labels), selector


def test_the_public_gets_no_metrics() -> None:
    (rule,) = chart.one(chart.variant("everything"), "Ingress", "")["spec"]["rules"]
    paths = {(path["path"], path["pathType"]) for path in rule["http"]["paths"]}
    assert ("/", "Exact") in paths
    assert not any(kind == "Prefix" and "/metrics".startswith(path) for path, kind in paths)
    assert {("/v1", "Prefix"), ("/static", "Prefix")} <= paths
    assert not chart.kinds(chart.variant("default"), "Ingress"), "off unless asked for"


def test_monitors_call_the_jobs_as_dashboards_and_alerts_do() -> None:
    objects = chart.variant("everything")
    monitors = chart.kinds(objects, "ServiceMonitor") + chart.kinds(objects, "PodMonitor")
    jobs = {item["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] for item in monitors}
    assert {item["spec"]["jobLabel"] for item in monitors} == {"app.kubernetes.io/component"}
    compose = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    assert jobs == {job["job_name"] for job in compose} - {"prometheus"}
    (kept,) = [job["metric_relabel_configs"] for job in compose if job["job_name"] == "segmenter"]
    (endpoint,) = chart.one(tuple(objects), "PodMonitor", "")["spec"]["podMetricsEndpoints"]
    assert [rule["regex"] for rule in endpoint["metricRelabelings"]] == [rule["regex"] for rule in kept]


def test_rules_and_dashboards_are_the_shipped_ones() -> None:
    objects = chart.variant("everything")
    groups = chart.one(objects, "PrometheusRule", "")["spec"]["groups"]
    rules = ROOT / "deploy" / "prometheus" / "rules"
    shipped = [
        group
        for name in ("recording", "alerts")
        for group in yaml.safe_load((rules / f"{name}.yml").read_text())["groups"]
    ]
    assert groups == shipped
    folder = ROOT / "deploy" / "grafana" / "dashboards"
    data = chart.one(objects, "ConfigMap", "-dashboards")["data"]
    assert {name: text.strip() for name, text in data.items()} == {
        path.name: path.read_text().strip() for path in folder.glob("*.json")
    }


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"gateway": {"replcas": 2}}, "replcas"),
        ({"gateway": {"replicas": 0}}, "replicas"),
        ({"profile": "engines"}, "profile"),
        ({"autoscaling": {"kind": "vpa"}}, "kind"),
        ({"policy": {"gpuMemory": 2}}, "gpuMemory"),
        ({"policy": {"enabled": False}}, "policy.urls"),
        ({"policy": {"enabled": False, "urls": ["http://x:8000"]}}, "urls"),
        ({"segmenter": {"enabled": False}, "networkPolicy": {"rayFrom": [{"podSelector": {}}]}}, "segmenter.address"),
        ({"segmenter": {"enabled": False, "address": "ray:6379"}}, "networkPolicy.rayFrom"),
        ({"segmenter": {"args": {"varient": "vit_b"}}}, "varient"),
    ],
)
def test_a_wrong_value_is_refused_by_name(values: Object, word: str) -> None:
    with pytest.raises(chart.Refused, match=word):
        chart.render(values)


LINES = ["alice " + "0" * 64, "mallory " + "1" * 64]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"config": {"limits": {"turns": 4}}}, {"config": {"limits": {"turns": 5}}}),
        ({"keys": {"lines": LINES}}, {"keys": {"lines": LINES[:1]}}),
    ],
)
def test_what_is_read_at_the_start_restarts_the_gateway_when_it_changes(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    before, after = (chart.render({"gateway": values}) for values in (one, other))
    stamps = [
        chart.one(tuple(objects), "Deployment", "-gateway")["spec"]["template"]["metadata"]["annotations"]
        for objects in (before, after)
    ]
    assert stamps[0] != stamps[1]
