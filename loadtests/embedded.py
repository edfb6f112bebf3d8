"""One request at a time against a real `rsagent serve`: time to the first mask and to the end, encodes, memory."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.progress import track

from loadtests.server import Server, serving
from rsagent import examples


@dataclass(frozen=True)
class Streamed:
    """One streamed request: seconds since it was sent, and what the final event said."""

    accepted: float
    first_mask: float | None
    final: float
    answer: dict[str, Any]


def stream(client: httpx.Client, url: str, picture: Path, query: str) -> Streamed:
    """Send a picture and a sentence, read the events to the end."""
    started = time.perf_counter()
    seen: dict[str, float] = {}
    with client.stream(
        "POST",
        f"{url}/v1/segment",
        files={"image": picture.read_bytes()},
        data={"query": query},
        headers={"Accept": "text/event-stream"},
    ) as response:
        response.raise_for_status()
        event = ""
        for line in response.iter_lines():
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
                seen.setdefault(event, time.perf_counter() - started)
            elif line.startswith("data: ") and event == "final":
                answer = json.loads(line.removeprefix("data: "))
                return Streamed(seen["accepted"], seen.get("mask"), seen["final"], answer)
    raise RuntimeError(f"the stream ended without a final event; it held {list(seen)}")


def measure(rounds: int = 5) -> dict[str, Any]:
    """Every shipped example `rounds` times. The first request, which warms the caches, is reported apart."""
    asked = [(example.path, sentence) for example in examples.load() for sentence in example.sentences]
    with serving() as server, httpx.Client(timeout=120) as client:
        idle = server.memory_mb()
        first = stream(client, server.url, *asked[0])
        runs = [stream(client, server.url, *ask) for ask in track(asked * rounds, description="requests")]
        return _figures(server, idle, first, runs)


def _figures(server: Server, idle: float, first: Streamed, runs: list[Streamed]) -> dict[str, Any]:
    usage = [run.answer["usage"] for run in runs]
    return {
        "requests": len(runs),
        "seconds_to_ready": server.seconds_to_ready,
        "first_request_s": first.final,
        "to_first_event_s": _spread([run.accepted for run in runs]),
        "to_first_mask_s": _spread([run.first_mask for run in runs if run.first_mask is not None]),
        "to_final_s": _spread([run.final for run in runs]),
        "turns": float(np.mean([one["turns"] for one in usage])),
        "image_encodes_max": max(one["image_encodes"] for one in usage),
        "prompt_tokens_cached": sum(one["cached_tokens"] for one in usage) / sum(one["prompt_tokens"] for one in usage),
        "memory_mb": {"idle": idle, "after": server.memory_mb(), "peak": server.memory_mb("VmHWM")},
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"p50": float(np.percentile(values, 50)), "p95": float(np.percentile(values, 95))}
