"""Spans of OpenTelemetry: request → turn → policy and segmenter. Off until `configure` is told a collector.

    with span("turn", index=3) as traced:
        ...
        traced.set(tool="segment")

While it is off, a span is one shared object that does nothing. The current span travels in a context variable; to
another service it travels in the `traceparent` header (W3C Trace Context).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from rsagent.errors import NotConfigured
from rsagent.observing.settings import TracingSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

Value = str | int | float | bool


class Span(Protocol):
    """Something that takes time."""

    def set(self, **attributes: Value) -> None:
        """Say more about it."""
        ...


class _Silent:
    def set(self, **attributes: Value) -> None:
        pass


_SILENT = nullcontext(_Silent())
_current: ContextVar[Any] = ContextVar("rsagent_span", default=None)
_tracer: Any = None


def span(name: str, **attributes: Value) -> AbstractContextManager[Span]:
    """A span within the current one. An exception that leaves it marks it as failed."""
    return _SILENT if _tracer is None else _real(name, attributes)


def headers() -> dict[str, str]:
    """What to send along to another service so that its spans join ours; empty while tracing is off."""
    current = _current.get()
    if current is None:
        return {}
    context = current.get_span_context()
    return {"traceparent": f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"}


def configure(settings: TracingSettings, exporter: SpanExporter | None = None) -> None:
    """Send spans to the settings' collector, or to `exporter`; with neither, send none.

    Raises NotConfigured where the packages are not installed.
    """
    global _tracer  # as OpenTelemetry's own, one for a process
    if settings.endpoint is None and exporter is None:
        _tracer = None
        return
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        resource = Resource.create({"service.name": settings.service_name})
        provider = TracerProvider(resource=resource, sampler=ParentBased(TraceIdRatioBased(settings.ratio)))
        if exporter is not None:
            provider.add_span_processor(SimpleSpanProcessor(exporter))
        else:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.endpoint)))
    except ImportError as error:
        raise NotConfigured("traces need the telemetry extra: pip install 'rsagent[telemetry]'") from error
    _tracer = provider.get_tracer("rsagent")


@contextmanager
def _real(name: str, attributes: dict[str, Value]) -> Iterator[Span]:
    from opentelemetry.trace import StatusCode, set_span_in_context

    parent = _current.get()
    context = None if parent is None else set_span_in_context(parent)
    current = _tracer.start_span(name, context, attributes=attributes)
    token = _current.set(current)
    try:
        yield _Real(current)
    except Exception as error:
        current.record_exception(error)
        current.set_status(StatusCode.ERROR)
        raise
    finally:
        current.end()
        with suppress(ValueError):  # a generator that is closed elsewhere than it was read
            _current.reset(token)


class _Real:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def set(self, **attributes: Value) -> None:
        self._inner.set_attributes(attributes)
