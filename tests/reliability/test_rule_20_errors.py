"""Rule 20: an error tells a code and a request id, and nothing of the inside."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.api.stage import FINISH, PNG, SEGMENT, Cast, on_stage
from tests.resilience.test_engines import Flaky

from rsagent.errors import PolicyError, RSAgentError
from rsagent.policy.fake import ScriptedPolicy

INSIDE = re.compile(
    r"Traceback|File \"|\.py\b|/(?:usr|root|home|work|tmp|srv|etc)/|site-packages|0x[0-9a-f]{6,}"
    r"|\b\d{1,3}(?:\.\d{1,3}){3}\b|localhost|Bearer|api_key",
)
BUG = RuntimeError("/srv/secret.py: no route to 10.1.2.3 with api_key=hush at 0x7f00deadbeef")


class Buggy(ScriptedPolicy):
    """A policy with a bug that says too much."""

    def act(self, *arguments: Any) -> Any:
        raise BUG


CASES: list[tuple[dict[str, Any], Cast]] = [
    ({"files": {"image": PNG[:50]}, "data": {"query": "x"}}, Cast()),
    ({"files": {"image": b"GIF89a"}, "data": {"query": "x"}}, Cast()),
    ({"files": {"image": b"x" * 100}, "data": {"query": "x"}}, Cast()),
    ({"content": b"{", "headers": {"content-type": "application/json"}}, Cast()),
    ({"json": {"image": "file:///etc/shadow", "query": "x"}}, Cast()),
    ({"json": {"image": "https://10.0.0.1/x", "query": "x"}}, Cast(settings={"fetch": {"enabled": True}})),
    ({"files": {"image": PNG}, "data": {"query": "x"}}, Cast(policy=Buggy([FINISH]))),
    ({"files": {"image": PNG}, "data": {"query": "x"}}, Cast(segmenter=Flaky(lambda call: True, BUG))),  # type: ignore[arg-type]
    (
        {"files": {"image": PNG}, "data": {"query": "x"}},
        Cast(policy=ScriptedPolicy([SEGMENT], failure=PolicyError("the policy engine does not answer"))),
    ),
]


@pytest.mark.parametrize(("request_", "cast"), CASES)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_an_error_says_code_and_id_alone(request_: dict[str, Any], cast: Cast, accept: str) -> None:
    async with on_stage(cast) as stage:
        headers = {**request_.get("headers", {}), "Accept": accept}
        response = await stage.client.post("/v1/segment", **{**request_, "headers": headers})
    assert response.headers["x-request-id"] in response.text
    assert re.search(r'"code":"[a-z_]+"', response.text)
    assert not INSIDE.search(response.text), response.text
    assert "server" not in response.headers


def test_every_error_of_ours_has_a_code_of_its_own() -> None:
    kinds, found = [RSAgentError], []
    while kinds:
        kind = kinds.pop()
        kinds += [each for each in kind.__subclasses__() if each.__module__ == "rsagent.errors"]
        found.append(kind.code)
    assert len(found) == len(set(found))
