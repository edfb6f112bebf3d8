"""What a policy server's refusals mean."""

from __future__ import annotations

import httpx
import pytest

from rsagent.errors import ContextOverflow, PolicyError
from rsagent.policy.faults import ServerDown, error_of


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
        "the request exceeds the available context window",
        "At most 17 image(s) may be provided in one prompt. Set `--limit-mm-per-prompt` to increase this limit.",
    ],
)
def test_a_conversation_that_is_too_long_is_the_requests_own_fault(said: str) -> None:
    found = error_of(httpx.Response(400), said)
    assert isinstance(found, ContextOverflow)
    assert not found.retryable, "nor does it count against the engine"


@pytest.mark.parametrize(("status", "kind"), [(400, PolicyError), (422, PolicyError), (500, ServerDown)])
def test_other_refusals_are_failures_of_the_engine(status: int, kind: type[PolicyError]) -> None:
    found = error_of(httpx.Response(status), "At most one of us is wrong")
    assert type(found) is kind
    assert found.retryable
