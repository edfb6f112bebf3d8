"""What the service counts, in a registry of its own: two services in one process do not add up.

No metric's name holds a model's name, and every label is one of a closed set. Rates and quantiles are the
dashboard's to take: `rate()`, `histogram_quantile()`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rsagent.agent.actions import Malformed, MalformedKind, tool_name
from rsagent.agent.events import Ended, Event, MaskProposed
from rsagent.agent.state import EpisodeResult, StopReason, Turn
from rsagent.deadline import Deadline
from rsagent.errors import RSAgentError
from rsagent.policy.protocol import Policy
from rsagent.resilience.breaker import Breaker, BreakerState
from rsagent.resilience.engines import GuardedSegmenter
from rsagent.segmenter.protocol import Image, ImageId, Prompt, Segmenter, SegmentResult

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
TURNS = (1, 2, 3, 4, 5, 6, 8, 12, 16)
BATCH = (1, 2, 4, 8, 16, 32)


class Metrics:
    """The counters themselves; `registry` is what `/metrics` shows."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry(auto_describe=True)

        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(f"rsagent_{name}", words, labels, registry=registry)

        def gauge(name: str, words: str) -> Gauge:
            return Gauge(f"rsagent_{name}", words, registry=registry)

        def histogram(name: str, words: str, *labels: str, buckets: tuple[float, ...] = SECONDS) -> Histogram:
            return Histogram(f"rsagent_{name}", words, labels, buckets=buckets, registry=registry)

        self.requests = counter("requests", "Requests by how they ended: a status or an error's code.", "outcome")
        self.request_seconds = histogram("request_seconds", "From arrival to the last byte.")
        self.first_mask_seconds = histogram("time_to_first_mask_seconds", "From arrival to the first mask.")
        self.turns = histogram("turns", "Turns of an episode.", buckets=TURNS)
        self.turn_seconds = histogram("turn_seconds", "Time of a turn's stages.", "stage")
        self.tool_calls = counter("tool_calls", "Actions of the policy.", "tool", "result")
        self.malformed = counter("malformed", "Turns that were no action.", "kind")
        self.stops = counter("stop", "Episodes by why they stopped.", "reason")
        self.inflight = gauge("inflight", "Requests being served.")
        self.inflight_limit = gauge("inflight_limit", "Requests that may be served at once.")
        self.queue_depth = gauge("queue_depth", "Requests waiting for their turn.")
        self.queue_limit = gauge("queue_limit", "Requests that may wait for their turn.")
        self.queue_seconds = histogram("queue_seconds", "Time that those let in had waited.")
        self.rejected = counter("rejected", "Requests turned away at the door.", "reason")
        self.cancelled = counter("cancelled", "Requests whose client went away.")
        self.policy_tokens = counter("policy_tokens", "Tokens of the policy.", "kind")
        self.embedding_cache = counter("embedding_cache", "Whether a prompt found its image encoded.", "result")
        self.batch_size = histogram("segmenter_batch_size", "Prompts decoded together.", buckets=BATCH)
        self.segmenter_seconds = histogram("segmenter_seconds", "Time of a prompt's encode and decode.", "stage")
        ProcessCollector(registry=registry)
        self._announce()

    def _announce(self) -> None:
        """Show known labels from the start: `rate()` misses the first count of a series that was not there."""
        for reason in StopReason:
            self.stops.labels(reason)
        for kind in MalformedKind:
            self.malformed.labels(kind)
        for stage in ("policy", "segmenter", "render"):
            self.turn_seconds.labels(stage)
        for tokens in ("prompt", "cached", "completion"):
            self.policy_tokens.labels(tokens)
        for result in ("hit", "miss"):
            self.embedding_cache.labels(result)
        for stage in ("encode", "decode"):
            self.segmenter_seconds.labels(stage)
        for refusal in ("full", "timeout", "draining"):
            self.rejected.labels(refusal)
        for outcome in ("segmented", "no_target", "incomplete", "cancelled", *_codes(RSAgentError)):
            self.requests.labels(outcome)
        for tool in ("segment", "zoom", "finish", "report_no_target"):
            self.tool_calls.labels(tool, "ok")
        self.tool_calls.labels("malformed", "malformed")

    def watch(self, policy: Policy) -> None:
        """Show how many bytes of pictures `policy` sends to its engine; one in this process sends none."""
        self.registry.register(_ImageBytes(policy))

    def watch_breakers(self, *breakers: Breaker) -> None:
        """Show which engines are not asked at present."""
        self.registry.register(_OpenBreakers(breakers))

    def watch_retries(self, segmenter: GuardedSegmenter) -> None:
        """Show how many of its calls were made again."""
        self.registry.register(_Retries(segmenter))

    def episode(self, arrived: float | None = None) -> EpisodeMeter:
        """A meter for one episode. `arrived` is when its request came, on the monotonic clock; now by default."""
        return EpisodeMeter(self, time.monotonic() if arrived is None else arrived)

    def request(self, outcome: str, seconds: float) -> None:
        """Count a request that is over."""
        self.requests.labels(outcome).inc()
        self.request_seconds.observe(seconds)


def _codes(error: type[RSAgentError]) -> set[str]:
    """The public codes of an error and of all that derive from it."""
    return {error.code}.union(*(_codes(derived) for derived in error.__subclasses__()))


class _ImageBytes(Collector):
    """Reads the policy's own count when asked."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def collect(self) -> Iterator[Metric]:
        sent = getattr(self._policy, "image_bytes_sent", 0)
        words = "Bytes of pictures sent to the policy engine."
        yield CounterMetricFamily("rsagent_image_bytes_sent", words, value=sent)


class _OpenBreakers(Collector):
    """Reads the breakers when asked."""

    def __init__(self, breakers: tuple[Breaker, ...]) -> None:
        self._breakers = breakers

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "rsagent_breaker_open", "Whether an engine is not asked at present: 0 or 1.", labels=["engine"]
        )
        for breaker in self._breakers:
            family.add_metric([breaker.name], float(breaker.state is BreakerState.OPEN))
        yield family


class _Retries(Collector):
    """Reads the guard's count when asked."""

    def __init__(self, segmenter: GuardedSegmenter) -> None:
        self._segmenter = segmenter

    def collect(self) -> Iterator[Metric]:
        words = "Segmenter calls that failed and were made again."
        yield CounterMetricFamily("rsagent_segmenter_retries", words, value=self._segmenter.retries)


class EpisodeMeter:
    """Reads an episode's events into the metrics."""

    def __init__(self, metrics: Metrics, arrived: float) -> None:
        self._metrics = metrics
        self._arrived = arrived
        self._has_mask = False

    def saw(self, event: Event) -> None:
        """Count an event, in order."""
        match event:
            case MaskProposed() if not self._has_mask:
                self._has_mask = True
                self._metrics.first_mask_seconds.observe(time.monotonic() - self._arrived)
            case Ended(result):
                self._ended(result)
            case _:
                pass

    def torn_down(self) -> None:
        """The episode was cancelled before it ended."""
        self._metrics.stops.labels(StopReason.CANCELLED).inc()

    def _ended(self, result: EpisodeResult) -> None:
        self._metrics.stops.labels(result.stop).inc()
        self._metrics.turns.observe(len(result.state.turns))
        for turn in result.state.turns:
            if not turn.given:
                self._turn(turn)

    def _turn(self, turn: Turn) -> None:
        metrics = self._metrics
        metrics.tool_calls.labels(tool_name(turn.action), _result(turn)).inc()
        if isinstance(turn.action, Malformed):
            metrics.malformed.labels(turn.action.kind).inc()
        for stage in ("policy", "segmenter", "render"):
            metrics.turn_seconds.labels(stage).observe(getattr(turn.timings, stage) / 1000)
        for kind in ("prompt", "cached", "completion"):
            metrics.policy_tokens.labels(kind).inc(getattr(turn.reply, f"{kind}_tokens"))


def _result(turn: Turn) -> str:
    if isinstance(turn.action, Malformed):
        return "malformed"
    return "repeated" if turn.repeated else "ok"


class MeteredSegmenter:
    """A segmenter whose answers are counted."""

    def __init__(self, inner: Segmenter, metrics: Metrics) -> None:
        self.inner = inner
        self._metrics = metrics

    @property
    def variant(self) -> str:
        return self.inner.variant

    async def segment(
        self,
        image_id: ImageId,
        image: Image | Callable[[], Image],
        prompt: Prompt,
        deadline: Deadline | None = None,
    ) -> SegmentResult:
        """See `Segmenter.segment`."""
        answer = await self.inner.segment(image_id, image, prompt, deadline)
        self._metrics.embedding_cache.labels("miss" if answer.encoded else "hit").inc()
        self._metrics.batch_size.observe(answer.batch_size)
        if answer.encoded:
            self._metrics.segmenter_seconds.labels("encode").observe(answer.encode_ms / 1000)
        self._metrics.segmenter_seconds.labels("decode").observe(answer.decode_ms / 1000)
        return answer

    async def ready(self) -> bool:
        return await self.inner.ready()

    async def close(self) -> None:
        await self.inner.close()
