"""Rule 16: a policy that says nothing but garbage is ended by its budget."""

from __future__ import annotations

import pytest
from tests.api.stage import Cast, on_stage

from rsagent.agent.state import Budget
from rsagent.policy.fake import ScriptedPolicy

GARBAGE = ["", "no call", "<tool_call>{", '<tool_call>{"name": "fly"}</tool_call>', "\0\ud800", "9" * 100_000]


@pytest.mark.parametrize("text", GARBAGE)
@pytest.mark.parametrize("stream", [True, False])
async def test_garbage_ends_within_the_budget(text: str, stream: bool) -> None:
    policy = ScriptedPolicy([text], piece=10_000)
    async with on_stage(Cast(policy=policy)) as stage:
        answer = await stage.post(stream=stream, max_turns="16")
        assert stage.metric("stop_total", reason="malformed_budget") == 1
    assert '"stop_reason":"malformed_budget"' in answer.text
    assert '"status":"incomplete"' in answer.text
    assert policy.started <= Budget().malformed + 1
