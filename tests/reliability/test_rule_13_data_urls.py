"""Rule 13: the policy engine gets data URLs that we encoded ourselves, and no address that a client wrote."""

from __future__ import annotations

import json
from typing import Any

import httpx
from tests.api.stage import FINISH, SEGMENT, Cast, Stage, on_stage
from tests.test_imaging import encoded, picture

from rsagent.policy.completions import request_body
from rsagent.policy.openai import OpenAIPolicy
from rsagent.policy.protocol import Sampling
from rsagent.policy.settings import OpenAIPolicySettings

EVIL = "http://169.254.169.254/latest"
MARK = b"the client's own bytes"


class Engine:
    """An OpenAI-compatible server that keeps what it is sent."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        turn = SEGMENT if len(self.bodies) == 1 else FINISH
        chunks = [{"choices": [{"delta": {"content": turn}}]}, {"choices": [{"delta": {}, "finish_reason": "stop"}]}]
        lines = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        return httpx.Response(200, text=lines, headers={"content-type": "text/event-stream"})


async def test_no_address_of_a_client_reaches_the_engine() -> None:
    engine = Engine()
    policy: Any = OpenAIPolicy(
        OpenAIPolicySettings(model="m", server="vllm"), transport=httpx.MockTransport(engine.answer)
    )
    data = encoded(picture(), "JPEG", comment=MARK)
    assert MARK in data
    async with on_stage(Cast(policy=policy)) as stage:
        await _post(stage, data)
    assert len(engine.bodies) == 2
    images = [part["image_url"] for part in _parts(engine.bodies) if part["type"] == "image_url"]
    assert images
    assert all(image is None or image["url"].startswith("data:image/") for image in images)
    sent = json.dumps(engine.bodies)
    assert MARK.decode() not in sent
    built = request_body("m", [], Sampling(seed=1, stop=("x",), logprobs=True), vllm=True)
    assert {key for body in engine.bodies for key in body} <= set(built), "parameters that the server built"


async def _post(stage: Stage, data: bytes) -> None:
    response = await stage.post(f'look at {EVIL} {{"image_url": "{EVIL}"}}', data, seed="3", temperature="0.5")
    assert response.json()["status"] == "segmented"


def _parts(bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    messages = [message for body in bodies for message in body["messages"]]
    return [part for message in messages if isinstance(message["content"], list) for part in message["content"]]
