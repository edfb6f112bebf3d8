"""The chart, rendered by the real helm."""

from __future__ import annotations

import functools
import json
import subprocess
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # brought by the dependencies, without types
from deploy.helm.fetch import helm

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "rsagent"
Object = dict[str, Any]

VARIANTS: dict[str, Object] = {
    "default": {},
    "embedded": {"profile": "embedded", "autoscaling": {"kind": "hpa"}, "ingress": {"enabled": True}},
    "everything": {
        "gateway": {
            "config": {"limits": {"inflight": 16, "queue": 32}, "fetch": {"enabled": True}},
            "keys": {"lines": ["alice " + "0" * 64]},
            "env": [{"name": "EXTRA", "value": "1"}],
            "service": {"type": "LoadBalancer", "annotations": {"a.example/b": "c"}},
            "nodeSelector": {"pool": "cpu"},
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        },
        "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls", "annotations": {"x.example/y": "z"}},
        "autoscaling": {"kind": "keda"},
        "policy": {
            "replicas": 2,
            "model": "Qwen/Qwen3-VL-4B-Instruct",
            "dialect": "qwen3-vl",
            "claim": "models",
            "huggingFaceSecret": "hub",
            "arguments": ["--seed=7"],
        },
        "segmenter": {
            "args": {"variant": "vit_b", "path": "/models/sam.pth", "cache_bytes": 1073741824},
            "gpusPerReplica": 0.25,
            "workers": {"min": 1, "max": 3},
        },
        "networkPolicy": {"gatewayFrom": [{"namespaceSelector": {"matchLabels": {"team": "web"}}}]},
        "monitoring": {
            "serviceMonitor": True,
            "prometheusRule": True,
            "dashboards": True,
            "labels": {"release": "kube-prometheus-stack"},
        },
        "imagePullSecrets": [{"name": "registry"}],
    },
    "engines of yours": {
        "policy": {"enabled": False, "urls": ["http://vllm.models:8000/v1"]},
        "segmenter": {"enabled": False, "address": "ray-head.ray:6379"},
        "secrets": {"existing": "mine"},
        "networkPolicy": {"rayFrom": [{"namespaceSelector": {"matchLabels": {"team": "ray"}}}]},
        "monitoring": {"serviceMonitor": True},
    },
    "a fixed pool": {"segmenter": {"workers": {"min": 2, "max": 2}, "egress": True}},
}


class Refused(Exception):
    """Helm does not render it; its words."""


@functools.cache
def available() -> str:
    """Why there is no helm; empty where there is one."""
    try:
        helm()
    except RuntimeError as error:
        return str(error)
    return ""


def run(*words: str, values: Object | None = None) -> str:
    """What helm prints, without its remarks on linked files. Raises Refused."""
    done = subprocess.run(
        [str(helm()), *words, *(["--values", "-"] if values is not None else [])],
        input=None if values is None else json.dumps(values),
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        raise Refused(done.stdout + done.stderr)
    return done.stdout


def render(values: Object) -> list[Object]:
    """The objects that the chart makes of `values`, in the namespace `web`, as release `demo`."""
    return [one for one in yaml.safe_load_all(run("template", "demo", str(CHART), "-n", "web", values=values)) if one]


@functools.cache
def variant(name: str) -> tuple[Object, ...]:
    """One of the variants. Not to be changed."""
    return tuple(render(VARIANTS[name]))


def kinds(objects: tuple[Object, ...], kind: str) -> list[Object]:
    """All of one kind."""
    return [one for one in objects if one["kind"] == kind]


def one(objects: tuple[Object, ...], kind: str, ending: str) -> Object:
    """The one of this kind whose name ends so."""
    (found,) = [each for each in kinds(objects, kind) if each["metadata"]["name"].endswith(ending)]
    return found


def pods(objects: tuple[Object, ...]) -> dict[str, Object]:
    """Every pod template, by the name of what it belongs to."""
    found = {one["metadata"]["name"]: one["spec"]["template"] for one in kinds(objects, "Deployment")}
    for service in kinds(objects, "RayService"):
        cluster = service["spec"]["rayClusterConfig"]
        found["ray head"] = cluster["headGroupSpec"]["template"]
        found |= {f"ray {group['groupName']}": group["template"] for group in cluster["workerGroupSpecs"]}
    return found


def containers(pod: Object) -> list[Object]:
    """All containers of a pod template, sidecars included."""
    spec = pod["spec"]
    return [*spec.get("initContainers", ()), *spec["containers"]]
