"""How full everything is, as far as the service itself can tell."""

from __future__ import annotations

from deploy.grafana.panels import Board, Query, lines, number, quantiles

BOARD = Board(
    "rsagent-saturation",
    "RSAgent / 6 Saturation",
    "Places taken and waited for, the process, and the state of the engines.",
    (
        (
            "Now",
            (
                number(
                    "Places taken",
                    "Share of limits.inflight. Near 1 for long: more instances, or a higher limit if the engines idle.",
                    "percentunit",
                    "rsagent:inflight:ratio",
                ),
                number(
                    "Queue", "Share of limits.queue. At 1 requests are refused.", "percentunit", "rsagent:queue:ratio"
                ),
                number("Instances", "Instances of the service that answer.", "short", 'sum(up{job="gateway"})'),
                number(
                    "Engines aside",
                    "Engines that are not asked at present because they failed. Requests that need one are refused.",
                    "short",
                    "sum(rsagent_breaker_open)",
                ),
            ),
        ),
        (
            "At the door",
            (
                lines(
                    "Requests inside",
                    "Being served, of all instances, and how many may be.",
                    "short",
                    Query("sum(rsagent_inflight)", "served"),
                    Query("sum(rsagent_inflight_limit)", "limit"),
                ),
                lines(
                    "Requests waiting",
                    "For their turn, and how many may.",
                    "short",
                    Query("sum(rsagent_queue_depth)", "waiting"),
                    Query("sum(rsagent_queue_limit)", "limit"),
                ),
                lines("Wait", "Of those that were let in.", "s", *quantiles("rsagent_queue_seconds", 0.5, 0.95, 0.99)),
                lines(
                    "Refused",
                    "full and timeout mean that demand is above capacity.",
                    "reqps",
                    Query("sum by (reason) (rate(rsagent_rejected_total[$__rate_interval]))", "{{reason}}"),
                ),
            ),
        ),
        (
            "Processes and engines",
            (
                lines(
                    "CPU",
                    "Cores that each instance of the service uses. In the embedded profile the engines are in it.",
                    "short",
                    Query('rate(process_cpu_seconds_total{job="gateway"}[$__rate_interval])', "{{instance}}"),
                ),
                lines(
                    "Memory",
                    "Resident. A line that only rises is a leak: see the soak in docs/reliability.md.",
                    "bytes",
                    Query('process_resident_memory_bytes{job="gateway"}', "{{instance}}"),
                ),
                lines(
                    "File descriptors",
                    "Share of those that a process may have; each open stream holds one.",
                    "percentunit",
                    Query('process_open_fds{job="gateway"} / process_max_fds{job="gateway"}', "{{instance}}"),
                ),
                lines(
                    "Engines set aside",
                    "1 while an engine is not asked because it failed.",
                    "short",
                    Query("max by (engine) (rsagent_breaker_open)", "{{engine}}"),
                ),
                lines(
                    "Pictures sent to the policy",
                    "Bytes a second. A picture goes once: a rise without more requests says that the engine forgets.",
                    "Bps",
                    Query("sum(rate(rsagent_image_bytes_sent_total[$__rate_interval]))", "sent"),
                ),
                lines(
                    "Scrapes that succeed",
                    "By job: gateway, policy, segmenter. 0 is down, or out of Prometheus's reach.",
                    "short",
                    Query("min by (job) (up)", "{{job}}"),
                ),
            ),
        ),
    ),
)
