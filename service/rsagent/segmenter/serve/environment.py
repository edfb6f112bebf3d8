"""The environment that Ray reads, in its processes and in ours: its only way to be told some things."""

from __future__ import annotations

import os
from pathlib import Path

from rsagent import allocator

MESSAGE_BYTES = 64 * 1024 * 1024
"""Largest message between a client and a replica; gRPC's own 4 MiB are less than a packed mask of 34 megapixels."""

SERVE = {"RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(MESSAGE_BYTES)}

REPLICA = {
    **SERVE,
    # Each model computes on one core: replicas side by side lose more by sharing cores than they gain.
    "OMP_NUM_THREADS": "1",
    **allocator.ENVIRONMENT,
}

CLIENT = {
    **SERVE,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    # Ray ends a process that has not found the head node for a minute; ours has other requests to answer.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "86400",
}

NODE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    # On a busy machine Ray's own patience ends long before its processes have started; ours is `start_timeout`.
    "RAY_raylet_start_wait_time_s": "60",
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "600",
}


def node(metrics_port: int | None) -> dict[str, str]:
    """A node that we start, with metrics where there is a port for them."""
    return NODE if metrics_port is None else {**NODE, "RAY_enable_metrics_collection": "1"}


def token(path: Path) -> dict[str, str]:
    """Authentication by the token in a file."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path)}


def prepare(token_path: Path | None) -> None:
    """Set up this process; it only counts before Ray is first imported. What the user set himself stays, but for the
    token that is named."""
    for name, value in CLIENT.items():
        os.environ.setdefault(name, value)
    if token_path is not None:
        os.environ.update(token(token_path))
