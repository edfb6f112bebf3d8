"""What the policy engine does: vLLM's own metrics, as version 0.32 names them."""

from __future__ import annotations

from deploy.grafana.panels import Board, Query, lines, number, quantiles, stack

BOARD = Board(
    "rsagent-policy",
    "RSAgent / 3 Policy engine",
    "vLLM: what runs and waits, what its caches save, tokens, and where the time of a turn goes. The embedded profile "
    "has no such engine, and nothing here.",
    (
        (
            "Now",
            (
                number("Running", "Turns being generated.", "short", "sum(vllm:num_requests_running)"),
                number("Waiting", "Turns that wait in the engine.", "short", "sum(vllm:num_requests_waiting)"),
                number(
                    "Prompt tokens found",
                    "Share of prompt tokens that were in the prefix cache, over five minutes. T turns of like length "
                    "can reach (T − 1) / (T + 1).",
                    "percentunit",
                    "rsagent:policy_prefix_hits:ratio5m",
                ),
                number(
                    "Keys and values",
                    "Share of the KV cache in use, in the fullest engine.",
                    "percentunit",
                    "max(vllm:kv_cache_usage_perc)",
                ),
            ),
        ),
        (
            "Load",
            (
                lines(
                    "Running and waiting",
                    "Waiting above running for long: the engine is too small for what comes.",
                    "short",
                    Query("sum(vllm:num_requests_running)", "running"),
                    Query("sum(vllm:num_requests_waiting)", "waiting"),
                ),
                stack(
                    "Tokens",
                    "computed: prompt tokens read. cached: prompt tokens found in the prefix cache. generated.",
                    "ops",
                    Query("sum(rate(vllm:generation_tokens_total[$__rate_interval]))", "generated"),
                    Query(
                        'sum(rate(vllm:prompt_tokens_by_source_total{source="local_compute"}[$__rate_interval]))',
                        "computed",
                    ),
                    Query("sum(rate(vllm:prompt_tokens_cached_total[$__rate_interval]))", "cached"),
                ),
                stack(
                    "Turns by how they ended",
                    "abort: the service closed the stream, because the turn was complete or its client left.",
                    "ops",
                    Query(
                        "sum by (finished_reason) (rate(vllm:request_success_total[$__rate_interval]))",
                        "{{finished_reason}}",
                    ),
                ),
                lines(
                    "Preemptions",
                    "Turns put aside because keys and values had no room. They are read anew: give the engine more "
                    "memory or a smaller max_batch.",
                    "ops",
                    Query("sum(rate(vllm:num_preemptions_total[$__rate_interval]))", "preempted"),
                ),
            ),
        ),
        (
            "Caches",
            (
                lines(
                    "Found",
                    "Share of prompt tokens in the prefix cache, and of pictures in the image cache. A fall without a "
                    "change of load: episodes do not come back to their engine.",
                    "percentunit",
                    Query(
                        "sum(rate(vllm:prefix_cache_hits_total[$__rate_interval]))"
                        " / sum(rate(vllm:prefix_cache_queries_total[$__rate_interval]))",
                        "prompt tokens",
                    ),
                    Query(
                        "sum(rate(vllm:mm_cache_hits_total[$__rate_interval]))"
                        " / sum(rate(vllm:mm_cache_queries_total[$__rate_interval]))",
                        "pictures",
                    ),
                ),
                lines(
                    "Keys and values in use",
                    "Share of each engine's KV cache.",
                    "percentunit",
                    Query("max by (instance) (vllm:kv_cache_usage_perc)", "{{instance}}"),
                ),
            ),
        ),
        (
            "Time of a turn",
            (
                lines(
                    "First token",
                    "From the turn's arrival at the engine.",
                    "s",
                    *quantiles("vllm:time_to_first_token_seconds", 0.5, 0.95),
                ),
                lines(
                    "Between tokens",
                    "Of one turn; it grows with the turns that are generated together.",
                    "s",
                    *quantiles("vllm:inter_token_latency_seconds", 0.5, 0.95),
                ),
                stack(
                    "Where a turn's time goes",
                    "Means: waiting in the engine, reading the prompt, generating.",
                    "s",
                    *(
                        Query(
                            f"sum(rate(vllm:request_{part}_time_seconds_sum[$__rate_interval]))"
                            f" / sum(rate(vllm:request_{part}_time_seconds_count[$__rate_interval]))",
                            part,
                        )
                        for part in ("queue", "prefill", "decode")
                    ),
                ),
                lines("Whole turn", "In the engine.", "s", *quantiles("vllm:e2e_request_latency_seconds", 0.5, 0.95)),
            ),
        ),
    ),
    needs="vllm",
)
