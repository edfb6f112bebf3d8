from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.api.stage import NO_TARGET, Cast, on_stage

from rsagent.errors import NotConfigured, SegmenterError
from rsagent.observing import tracing
from rsagent.observing.settings import TracingSettings
from rsagent.policy.openai import OpenAIPolicy
from rsagent.policy.settings import OpenAIPolicySettings
from rsagent.segmenter.fake import FakeSegmenter


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.configure(TracingSettings(), exporter)
    yield exporter
    tracing.configure(TracingSettings())


def parents(spans: tuple[ReadableSpan, ...]) -> list[tuple[str, str | None]]:
    """Each span's name with its parent's, in the order they began."""
    names = {span.context.span_id: span.name for span in spans if span.context}
    begun = sorted(spans, key=lambda span: span.start_time or 0)
    return [(span.name, names[span.parent.span_id] if span.parent else None) for span in begun]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_holds_its_turns_and_they_the_engines(exporter: InMemorySpanExporter, stream: bool) -> None:
    async with on_stage() as stage:
        answer = await stage.post(stream=stream)
    spans = exporter.get_finished_spans()
    assert parents(spans) == [
        ("request", None), ("turn", "request"), ("policy", "turn"), ("segmenter", "turn"), ("turn", "request"),
        ("policy", "turn"),
    ]  # fmt: skip
    (request,) = [span for span in spans if span.name == "request"]
    told = dict(request.attributes or {})
    assert told == {
        "path": "/v1/segment", "request_id": answer.headers["x-request-id"], "outcome": "segmented",
    }  # fmt: skip


async def test_the_policy_engine_is_told_the_requests_id_and_its_span(exporter: InMemorySpanExporter) -> None:
    told: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        told.append(request.headers)
        chunks = [
            {"choices": [{"delta": {"content": NO_TARGET}}]},
            {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        ]
        lines = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        return httpx.Response(200, text=lines, headers={"content-type": "text/event-stream"})

    policy: Any = OpenAIPolicy(OpenAIPolicySettings(model="m"), transport=httpx.MockTransport(answer))
    async with on_stage(Cast(policy=policy)) as stage:
        stage.client.headers["X-Request-ID"] = "my-id"
        assert (await stage.post()).headers["x-request-id"] == "my-id"
    (headers,) = told
    assert headers["x-request-id"] == "my-id"
    (span,) = [span for span in exporter.get_finished_spans() if span.name == "policy"]
    assert span.context is not None
    assert headers["traceparent"].startswith(f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-")


async def test_a_failure_is_marked(exporter: InMemorySpanExporter) -> None:
    async with on_stage(Cast(segmenter=FakeSegmenter(failure=SegmenterError("gone")))) as stage:
        await stage.post()
    (span,) = [span for span in exporter.get_finished_spans() if span.name == "segmenter"]
    assert not span.status.is_ok
    assert span.events[0].name == "exception"


def test_another_service_can_join(exporter: InMemorySpanExporter) -> None:
    assert tracing.headers() == {}
    with tracing.span("request"):
        assert tracing.headers()["traceparent"].startswith("00-")
    assert tracing.headers() == {}


def test_off_costs_nothing_and_says_nothing() -> None:
    tracing.configure(TracingSettings())
    with tracing.span("a") as one, tracing.span("b") as other:
        one.set(x=1)
    assert one is other
    assert tracing.headers() == {}


def test_without_the_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(NotConfigured, match=r"rsagent\[telemetry\]"):
        tracing.configure(TracingSettings(endpoint="http://127.0.0.1:4318/v1/traces"))
