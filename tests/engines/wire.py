"""Looking at what goes over the wire to an engine, and at what the engine counts."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

import httpx
from prometheus_client.parser import text_string_to_metric_families


class Counting(httpx.AsyncBaseTransport):
    """Passes requests on; counts how often each picture was sent, and their bytes."""

    def __init__(self) -> None:
        self._inner = httpx.AsyncHTTPTransport()
        self.uploads: Counter[str] = Counter()
        self.names: Counter[str] = Counter()
        self.image_bytes = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self._count(json.loads(request.content))
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _count(self, body: dict[str, object]) -> None:
        messages = body["messages"]
        assert isinstance(messages, list)
        parts = [part for message in messages if isinstance(message["content"], list) for part in message["content"]]
        for part in parts:
            if part["type"] == "image_url":
                self.names[part["uuid"]] += 1
                if part["image_url"] is not None:
                    self.uploads[part["uuid"]] += 1
                    self.image_bytes += len(part["image_url"]["url"])


class EngineCounts:
    """vLLM's own metrics. `since` subtracts an earlier look."""

    def __init__(self, values: dict[str, float]) -> None:
        self.values = values

    @classmethod
    async def look(cls, base_url: str) -> EngineCounts:
        async with httpx.AsyncClient(trust_env=False) as http:
            text = (await http.get(base_url.removesuffix("/v1") + "/metrics")).text
        values: defaultdict[str, float] = defaultdict(float)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                reason = sample.labels.get("finished_reason")
                values[f"{sample.name}/{reason}" if reason else sample.name] += sample.value
        return cls(dict(values))

    def since(self, before: EngineCounts) -> EngineCounts:
        return EngineCounts({name: value - before.values.get(name, 0.0) for name, value in self.values.items()})

    def __getitem__(self, name: str) -> float:
        """A metric by its name without the prefix `vllm:`; one that was never counted is 0."""
        return self.values.get(f"vllm:{name}", 0.0)
