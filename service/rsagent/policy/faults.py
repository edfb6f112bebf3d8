"""What goes wrong between us and a policy server, as errors of ours that name the remedy."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from rsagent.deadline import Deadline
from rsagent.errors import ContextOverflow, DeadlineExceeded, Overloaded, PolicyError, RSAgentError

log = logging.getLogger(__name__)

_OVERFLOW = re.compile(
    r"context.length|context.window|max_model_len|maximum model length|too many tokens"
    r"|at most \d+ \w+\(s\) may be provided",
    re.I,
)
"""How servers say that a prompt has more tokens, or more pictures, than they take (vLLM, llama.cpp, OpenAI)."""


class ServerDown(PolicyError):
    """The server itself is at fault, not the turn: another server may well answer it."""


class ServerSilent(DeadlineExceeded):
    """The server takes requests and says nothing."""


@contextmanager
def faults(deadline: Deadline) -> Iterator[None]:
    """Whatever goes wrong on the line, as an error of ours."""
    try:
        yield
    except TimeoutError as error:
        raise DeadlineExceeded("the deadline passed while the policy was answering; ask for a longer one") from error
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        log.warning("no connection to the policy server: %r", error)
        raise ServerDown("the policy server cannot be reached; start it, or correct the policy's base_url") from error
    except httpx.TimeoutException as error:
        deadline.check()
        raise ServerSilent("the policy server fell silent; retry, or raise the policy's stall_timeout") from error
    except httpx.HTTPError as error:
        log.warning("the connection to the policy server failed: %r", error)
        raise ServerDown("the connection to the policy server broke; retry, and look at its log") from error


async def excerpt(response: httpx.Response, deadline: Deadline) -> str:
    """The start of an error's body, for our log."""
    with faults(deadline):
        async with deadline.timeout():
            return (await response.aread())[:500].decode("utf-8", "replace")


def error_of(response: httpx.Response, said: str = "") -> RSAgentError:
    """What an answer other than 2xx means; `said` is the start of its body, which only our log is told."""
    status = response.status_code
    log.warning("the policy server answered %d: %s", status, said)
    if status in (429, 503):
        return Overloaded("the policy server is at its limit; retry in a moment", retry_after=_retry_after(response))
    if status in (408, 504):
        return DeadlineExceeded("the policy server timed out; retry, or give the request more time")
    if status in (401, 403):
        return PolicyError("the policy server refused our key; set the policy's api_key")
    if status == 404:
        return PolicyError("the policy server knows no such model or route; check the policy's base_url and model")
    if status < 500 and _OVERFLOW.search(said):
        return ContextOverflow("the conversation outgrew the policy's context; use fewer turns or smaller views")
    if status < 500:
        return PolicyError(f"the policy server refused the request with {status}; its reason is in our log")
    return ServerDown(f"the policy server failed with {status}; retry, and look at its log")


def _retry_after(response: httpx.Response) -> float:
    try:
        return max(0.0, float(response.headers.get("retry-after", "1")))
    except ValueError:
        return 1.0
