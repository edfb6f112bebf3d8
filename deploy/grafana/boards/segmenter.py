"""What the segmenter does, as the service sees it: batches, embeddings kept, encodes and decodes."""

from __future__ import annotations

from deploy.grafana.panels import Board, Query, lines, mean, number, quantiles

_PROMPTS = "sum(rate(rsagent_embedding_cache_total[$__rate_interval]))"

BOARD = Board(
    "rsagent-segmenter",
    "RSAgent / 4 Segmenter",
    "Prompts to the segmenter, whether their images were encoded already, and what encoding and decoding cost.",
    (
        (
            "Last five minutes",
            (
                number("Prompts", "Prompts answered.", "ops", "rsagent:segmenter_prompts:rate5m"),
                number(
                    "Embedding found",
                    "Share of prompts whose image was encoded before. Episodes of T prompts can reach 1 − 1/T.",
                    "percentunit",
                    "rsagent:embedding_cache_hits:ratio5m",
                ),
                number(
                    "Encodes of an episode",
                    "1 is the aim: one image, encoded once, and one more for each zoom that asks for it.",
                    "short",
                    "rsagent:episode_encodes:mean5m",
                ),
                number("Batch", "Mean prompts decoded together.", "short", "rsagent:segmenter_batch:mean5m"),
            ),
        ),
        (
            "Work",
            (
                lines(
                    "Prompts by whether the image was encoded",
                    "hit: decoded at once. miss: encoded first.",
                    "ops",
                    Query("sum by (result) (rate(rsagent_embedding_cache_total[$__rate_interval]))", "{{result}}"),
                ),
                lines(
                    "Batch size",
                    "Prompts, of any images, that went through the decoder together. It grows with load by itself.",
                    "short",
                    *quantiles("rsagent_segmenter_batch_size", 0.5, 0.95),
                    mean("rsagent_segmenter_batch_size"),
                ),
                lines(
                    "Encode",
                    "Of an image that was not at hand, the wait for a worker included.",
                    "s",
                    *(
                        Query(
                            f"histogram_quantile({q}, sum by (le) "
                            '(rate(rsagent_segmenter_seconds_bucket{stage="encode"}[$__rate_interval])))',
                            legend,
                        )
                        for q, legend in ((0.5, "p50"), (0.95, "p95"))
                    ),
                ),
                lines(
                    "Decode",
                    "Of the batch that a prompt was part of.",
                    "s",
                    *(
                        Query(
                            f"histogram_quantile({q}, sum by (le) "
                            '(rate(rsagent_segmenter_seconds_bucket{stage="decode"}[$__rate_interval])))',
                            legend,
                        )
                        for q, legend in ((0.5, "p50"), (0.95, "p95"))
                    ),
                ),
                lines(
                    "Seconds of work a second",
                    "How much encoding and how much decoding is under way on average. Encoding above decoding means "
                    "that embeddings are not kept: give the replicas a larger cache_bytes.",
                    "short",
                    Query("sum by (stage) (rate(rsagent_segmenter_seconds_sum[$__rate_interval]))", "{{stage}}"),
                ),
                lines(
                    "Calls made again",
                    "Share of prompts. A replica that dies takes its calls along; each is made once more.",
                    "percentunit",
                    Query(f"sum(rate(rsagent_segmenter_retries_total[$__rate_interval])) / {_PROMPTS}", "again"),
                ),
            ),
        ),
    ),
)
