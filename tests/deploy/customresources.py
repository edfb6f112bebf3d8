"""Strict schemas of the custom resources that the chart renders, as far as it uses them: any other field is refused.

Written by hand from the published references of KubeRay 1.6 (RayService v1), KEDA 2 (ScaledObject v1alpha1) and the
Prometheus operator (monitoring v1); RayService's own schema has a megabyte, nearly all of it the pod template, which
is validated against the Kubernetes API's schema instead (`test_helm.py`).
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
WHOLE: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
SECONDS: Schema = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}
TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
ANYTHING: Schema = {"type": "object"}


def closed(required: str = "", **properties: Schema) -> Schema:
    """An object with these fields and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": required.split(),
    }


def many(items: Schema, least: int = 1) -> Schema:
    """An array."""
    return {"type": "array", "items": items, "minItems": least}


def resource(group: str, kind: str, spec: Schema) -> Schema:
    """A namespaced object. Its metadata are checked with those of the built-in kinds."""
    return closed(
        "apiVersion kind metadata spec",
        apiVersion={"const": group},
        kind={"const": kind},
        metadata=closed("name labels", name=TEXT, labels=TEXTS),
        spec=spec,
    )


_LABELS = closed("matchLabels", matchLabels=TEXTS)
_RELABELING = many(
    closed("regex action", sourceLabels=many(TEXT), regex=TEXT, action={"enum": ["keep", "drop", "labeldrop"]})
)
_ENDPOINT = closed(
    "port path interval scrapeTimeout",
    port=TEXT,
    path={"type": "string", "pattern": "^/"},
    interval=SECONDS,
    scrapeTimeout=SECONDS,
    metricRelabelings=_RELABELING,
)
_MONITORED = {"jobLabel": TEXT, "selector": _LABELS}
_RULE = {"expr": TEXT, "labels": TEXTS}

_GROUP = {"rayStartParams": TEXTS, "template": ANYTHING}
_RAY_CLUSTER = closed(
    "rayVersion authOptions headGroupSpec workerGroupSpecs",
    rayVersion=TEXT,
    authOptions=closed("mode secretName", mode={"enum": ["disabled", "token"]}, secretName=TEXT),
    enableInTreeAutoscaling=FLAG,
    autoscalerOptions=closed(
        version={"enum": ["v1", "v2"]},
        upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
        idleTimeoutSeconds=WHOLE,
        resources=ANYTHING,
        securityContext=ANYTHING,
    ),
    headGroupSpec=closed("rayStartParams template", **_GROUP),
    workerGroupSpecs=many(
        closed(
            "groupName minReplicas maxReplicas rayStartParams template",
            groupName=TEXT,
            replicas=WHOLE,
            minReplicas=WHOLE,
            maxReplicas=WHOLE,
            **_GROUP,
        )
    ),
)

SCHEMAS: dict[str, Schema] = {
    "RayService": resource(
        "ray.io/v1",
        "RayService",
        closed(
            "serveConfigV2 rayClusterConfig",
            serveConfigV2=TEXT,
            upgradeStrategy=closed("type", type={"enum": ["NewCluster", "NewClusterWithIncrementalUpgrade", "None"]}),
            excludeHeadPodFromServeSvc=FLAG,
            rayClusterConfig=_RAY_CLUSTER,
        ),
    ),
    "ScaledObject": resource(
        "keda.sh/v1alpha1",
        "ScaledObject",
        closed(
            "scaleTargetRef triggers",
            scaleTargetRef=closed("name", apiVersion=TEXT, kind=TEXT, name=TEXT),
            minReplicaCount=WHOLE,
            maxReplicaCount=WHOLE,
            pollingInterval=WHOLE,
            fallback=closed(
                "failureThreshold replicas",
                failureThreshold=WHOLE,
                replicas=WHOLE,
                behavior={"enum": ["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]},
            ),
            advanced=closed(horizontalPodAutoscalerConfig=closed(behavior=ANYTHING)),
            triggers=many(
                closed(
                    "type metadata",
                    type={"const": "prometheus"},
                    metricType={"enum": ["AverageValue", "Value"]},
                    metadata=closed("serverAddress query threshold", serverAddress=TEXT, query=TEXT, threshold=TEXT),
                )
            ),
        ),
    ),
    "ServiceMonitor": resource(
        "monitoring.coreos.com/v1",
        "ServiceMonitor",
        closed("selector endpoints", **_MONITORED, endpoints=many(_ENDPOINT)),
    ),
    "PodMonitor": resource(
        "monitoring.coreos.com/v1",
        "PodMonitor",
        closed("selector podMetricsEndpoints", **_MONITORED, podMetricsEndpoints=many(_ENDPOINT)),
    ),
    "PrometheusRule": resource(
        "monitoring.coreos.com/v1",
        "PrometheusRule",
        closed(
            "groups",
            groups=many(
                closed(
                    "name rules",
                    name=TEXT,
                    rules=many(
                        {
                            "oneOf": [
                                closed("record expr", record=TEXT, **_RULE),
                                closed("alert expr", alert=TEXT, **_RULE, annotations=TEXTS, **{"for": SECONDS}),
                            ]
                        }
                    ),
                )
            ),
        ),
    ),
}
