"""What users get: rate, errors, duration (RED)."""

from __future__ import annotations

from deploy.grafana.panels import Board, Query, lines, mean, number, quantiles, stack

_STAGES = tuple(
    Query(
        f'sum(rate(rsagent_turn_seconds_sum{{stage="{stage}"}}[$__rate_interval]))'
        " / sum(rate(rsagent_request_seconds_count[$__rate_interval]))",
        stage,
    )
    for stage in ("policy", "segmenter", "render")
)
_WAIT = Query(
    "sum(rate(rsagent_queue_seconds_sum[$__rate_interval]))"
    " / sum(rate(rsagent_request_seconds_count[$__rate_interval]))",
    "queue",
)

BOARD = Board(
    "rsagent-requests",
    "RSAgent / 1 Requests",
    "Rate, errors and duration of requests, and where their time goes.",
    (
        (
            "Last five minutes",
            (
                number("Requests", "Requests that ended, by whatever outcome.", "reqps", "rsagent:requests:rate5m"),
                number(
                    "Failed",
                    "Share that failed by our fault or an engine's. Refusals and cancelled ones are not in it.",
                    "percentunit",
                    "rsagent:request_errors:ratio5m",
                ),
                number("p95", "19 of 20 requests took no longer.", "s", "rsagent:request_seconds:p95_5m"),
                number(
                    "First mask, p95",
                    "19 of 20 requests that got a mask had seen their first one by then.",
                    "s",
                    "rsagent:first_mask_seconds:p95_5m",
                ),
            ),
        ),
        (
            "Rate and errors",
            (
                stack(
                    "Requests by outcome",
                    "Statuses of answers (segmented, no_target, incomplete), cancelled ones, and codes of errors.",
                    "reqps",
                    Query("sum by (outcome) (rate(rsagent_requests_total[$__rate_interval])) > 0", "{{outcome}}"),
                ),
                lines(
                    "Failed and refused",
                    "Failed: by our fault or an engine's. Refused: turned away at the door, by 429 or while draining.",
                    "percentunit",
                    Query("rsagent:request_errors:ratio5m", "failed"),
                    Query("rsagent:request_refusals:ratio5m", "refused"),
                ),
                lines(
                    "Refused by reason",
                    "full: the queue is. timeout: the wait was too long. draining: this instance is shutting down.",
                    "reqps",
                    Query("sum by (reason) (rate(rsagent_rejected_total[$__rate_interval]))", "{{reason}}"),
                ),
                lines(
                    "Clients that left",
                    "Requests whose client hung up before the end. Many of them are a sign of slowness.",
                    "reqps",
                    Query("sum(rate(rsagent_cancelled_total[$__rate_interval]))", "left"),
                ),
            ),
        ),
        (
            "Duration",
            (
                lines(
                    "Request",
                    "From arrival to the last byte.",
                    "s",
                    *quantiles("rsagent_request_seconds", 0.5, 0.95, 0.99),
                    mean("rsagent_request_seconds"),
                ),
                lines(
                    "First mask",
                    "From arrival to the first mask, which a streaming client sees then.",
                    "s",
                    *quantiles("rsagent_time_to_first_mask_seconds", 0.5, 0.95),
                ),
                stack(
                    "Where the time goes",
                    "Seconds of a mean request: waiting at the door, the policy's sampling, the segmenter, drawing "
                    "overlays. The largest one is where to look next.",
                    "s",
                    _WAIT,
                    *_STAGES,
                ),
                lines(
                    "Wait at the door",
                    "Of those that were let in.",
                    "s",
                    *quantiles("rsagent_queue_seconds", 0.5, 0.95),
                ),
            ),
        ),
    ),
)
