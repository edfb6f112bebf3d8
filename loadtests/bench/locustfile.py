"""Locust users of a running service, aware of event streams.

    locust -f loadtests/bench/locustfile.py --headless -u 16 -r 16 -t 2m --host http://127.0.0.1:8080

Beside the request (`whole`), each stream is measured as `first byte`, `first mask`, `turn` (from one mask to the
next) and `final`. An `error` event, or a stream without an end, is a failure. RSAGENT_LOCUST_TURNS fixes the turns,
RSAGENT_LOCUST_REQUESTS ends the run after so many requests.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from typing import Any

import gevent
from locust import HttpUser, constant, task

from loadtests.bench import script

TURNS = os.environ.get("RSAGENT_LOCUST_TURNS")
MOST = int(os.environ.get("RSAGENT_LOCUST_REQUESTS", 1 << 62))
NUMBERS = itertools.count()


class Viewer(HttpUser):
    """Sends a picture that nobody sent before, watches its stream, sends the next."""

    wait_time = constant(0)

    @task
    def segment(self) -> None:
        """One request, to its last event."""
        number = next(NUMBERS)
        if number >= MOST:
            gevent.spawn(self.environment.runner.quit)  # it ends its users, this one among them
            return
        picture, started = script.picture(number), time.perf_counter()
        data = {"query": script.query(number), **({"max_turns": TURNS} if TURNS else {})}
        with self.client.post(
            "/v1/segment",
            files={"image": picture},
            data=data,
            headers={"Accept": "text/event-stream"},
            stream=True,
            catch_response=True,
            name="whole",
        ) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
                return
            failure = self._watch(started, names(response.iter_lines()))
            if failure:
                response.failure(failure)

    def _watch(self, started: float, events: Iterator[str]) -> str | None:
        """Tell locust what comes how long after the sending; why it failed, if it did."""
        last_mask = None
        for place, name in enumerate(events):
            now = time.perf_counter()
            if place == 0:
                self._measured("first byte", now - started)
            if name == "mask":
                since = started if last_mask is None else last_mask
                self._measured("first mask" if last_mask is None else "turn", now - since)
                last_mask = now
            elif name == "final":
                self._measured("final", now - started)
                return None
            elif name == "error":
                return "the episode ended with an error"
        return "the stream ended without a final event"

    def _measured(self, name: str, seconds: float) -> None:
        told: dict[str, Any] = {"response_length": 0, "exception": None, "context": {}}
        self.environment.events.request.fire(request_type="SSE", name=name, response_time=1000 * seconds, **told)


def names(lines: Iterator[bytes]) -> Iterator[str]:
    """The names of events, from a stream's lines."""
    for line in lines:
        if line.startswith(b"event: "):
            yield line.removeprefix(b"event: ").decode()
