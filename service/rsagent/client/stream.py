"""One streamed request to a running service, as typed events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import httpx
from httpx_sse import EventSource
from pydantic import BaseModel, ValidationError

from rsagent.api.answers import EVENTS
from rsagent.api.problems import Problem
from rsagent.api.requests import Options
from rsagent.errors import RSAgentError

CONNECT_TIMEOUT = 10.0
"""Seconds. There is no read timeout: the service ends every stream itself and keeps a silent one alive."""


class RequestFailed(RSAgentError):
    """The service refused or could not finish a request; `problem` is its own account, if it gave one."""

    code = "request_failed"
    status = 502

    def __init__(self, message: str, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Streamed:
    """An event of the stream: its name and its document, of the type that `rsagent.api.answers.EVENTS` names."""

    name: str
    data: BaseModel


async def stream_segment(url: str, picture: bytes, query: str, options: Options) -> AsyncGenerator[Streamed, None]:
    """Ask the service at `url` to segment `query` in `picture` (the bytes of a file); yields events up to `final`.

    Raises RequestFailed when the service cannot be reached, refuses, fails, or ends its stream early. Closing the
    generator hangs up, which ends the episode.
    """
    try:
        async with (
            httpx.AsyncClient(base_url=url, timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT)) as client,
            client.stream(
                "POST",
                "/v1/segment",
                files={"image": ("image", picture)},
                data={"query": query, "options": options.model_dump_json()},
                headers={"Accept": "text/event-stream"},
            ) as response,
            aclosing(_events(response)) as events,
        ):
            async for event in events:
                yield event
                if event.name == "final":
                    return
    except httpx.HTTPError as error:
        raise RequestFailed(f"no answer from {url}: is the service running? Start one with `rsagent serve`") from error
    raise RequestFailed("the stream ended before its final event: the service was stopped or a proxy cut it")


async def _events(response: httpx.Response) -> AsyncGenerator[Streamed, None]:
    if response.status_code != httpx.codes.OK:
        raise _refusal((await response.aread()).decode(errors="replace"), response.status_code)
    async for sent in EventSource(response).aiter_sse():
        if sent.event == "error":
            raise _refusal(sent.data, response.status_code)
        if sent.event in EVENTS:
            yield Streamed(sent.event, EVENTS[sent.event].model_validate_json(sent.data))


def _refusal(body: str, status: int) -> RequestFailed:
    try:
        problem = Problem.model_validate_json(body)
    except ValidationError:
        return RequestFailed(f"HTTP {status} from something that is not RSAgent: check the address")
    return RequestFailed(f"{problem.detail} ({problem.code}, request {problem.request_id})", problem)
