"""The segmenter's replicas: Ray Serve's own metrics, as version 2.60 names them."""

from __future__ import annotations

from deploy.grafana.panels import Board, Query, lines, number

_OURS = 'deployment="Segmenter"'

BOARD = Board(
    "rsagent-pool",
    "RSAgent / 5 Segmenter pool",
    "Ray Serve: replicas, what each is asked, how long it takes, memory. The embedded profile has no such pool, and "
    "nothing here.",
    (
        (
            "Now",
            (
                number("Replicas", "Healthy ones.", "short", f"sum(ray_serve_deployment_replica_healthy{{{_OURS}}})"),
                number(
                    "Replicas wanted",
                    "As many as the autoscaler aims at, or as are set.",
                    "short",
                    "rsagent:segmenter_replicas:wanted",
                ),
                number(
                    "Calls under way",
                    "In all replicas.",
                    "short",
                    f"sum(ray_serve_replica_processing_queries{{{_OURS}}})",
                ),
                number(
                    "Replicas seen",
                    "Different ones within an hour. A number that rises under steady load: replicas die.",
                    "short",
                    "count(count by (replica) "
                    f"(last_over_time(ray_serve_deployment_replica_starts_total{{{_OURS}}}[1h])))",
                ),
            ),
        ),
        (
            "Replicas",
            (
                lines(
                    "Replicas healthy and wanted",
                    "healthy below wanted: a replica is starting, or there is no machine for it.",
                    "short",
                    Query(f"sum(ray_serve_deployment_replica_healthy{{{_OURS}}})", "healthy"),
                    Query("rsagent:segmenter_replicas:wanted", "wanted"),
                ),
                lines(
                    "Calls under way",
                    "By replica. Images belong to replicas: one far above the others has a popular image.",
                    "short",
                    Query(f"sum by (replica) (ray_serve_replica_processing_queries{{{_OURS}}})", "{{replica}}"),
                ),
                lines(
                    "Calls",
                    "By replica. A prompt on a new image is two calls: the first one answers that pixels are needed.",
                    "ops",
                    Query(
                        "sum by (replica) "
                        f"(rate(ray_serve_deployment_request_counter_total{{{_OURS}}}[$__rate_interval]))",
                        "{{replica}}",
                    ),
                ),
                lines(
                    "Time of a call",
                    "Mean in milliseconds, in the replica: its queue, encode and decode.",
                    "short",
                    Query(
                        "sum by (replica) "
                        f"(rate(ray_serve_deployment_processing_latency_ms_sum{{{_OURS}}}[$__rate_interval]))"
                        " / sum by (replica) "
                        f"(rate(ray_serve_deployment_processing_latency_ms_count{{{_OURS}}}[$__rate_interval]))",
                        "{{replica}}",
                    ),
                ),
            ),
        ),
        (
            "Machines",
            (
                lines(
                    "CPU",
                    "Per cent of each Ray node.",
                    "short",
                    Query("max by (ip) (ray_node_cpu_utilization)", "{{ip}}"),
                ),
                lines(
                    "Memory",
                    "Share in use of each Ray node. Ray kills its largest process near 95 per cent.",
                    "percentunit",
                    Query("max by (ip) (ray_node_mem_used) / max by (ip) (ray_node_mem_total)", "{{ip}}"),
                ),
                lines(
                    "Pictures on their way",
                    "Bytes in Ray's object store, and how many it can hold. Full: pictures wait, or go to disk.",
                    "bytes",
                    Query("sum(ray_object_store_used_memory)", "used"),
                    Query("sum(ray_object_store_available_memory) + sum(ray_object_store_used_memory)", "room"),
                ),
                lines(
                    "Memory of replicas",
                    "Resident: the model, and cache_bytes of embeddings.",
                    "bytes",
                    Query('sum by (pid) (ray_component_rss_bytes{Component=~"ray::ServeReplica.*"})', "{{pid}}"),
                ),
            ),
        ),
    ),
    needs="ray",
)
