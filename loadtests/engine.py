"""`python -m loadtests.engine PORT SECONDS`: an OpenAI-compatible policy engine that only takes time, to be killed."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rsagent.policy.completions import DONE

SEGMENT = (
    '<think>look</think><tool_call>{"name": "segment", "arguments": {"bbox_2d": [250, 250, 750, 750]}}</tool_call>'
)
FINISH = '<think>good</think><tool_call>{"name": "finish", "arguments": {"mask_ids": [1]}}</tool_call>'


def application(seconds: float) -> Starlette:
    """The server; each turn takes `seconds`. `/running` says how many are under way."""
    running = 0

    async def models(_: Request) -> Response:
        return JSONResponse({"data": [{"id": "scripted"}]})

    async def count(_: Request) -> Response:
        return JSONResponse(running)

    async def turn(text: str) -> AsyncIterator[str]:
        nonlocal running
        running += 1
        try:
            pieces = [text[at : at + 24] for at in range(0, len(text), 24)]
            for piece in pieces:
                await asyncio.sleep(seconds / len(pieces))
                yield _event({"choices": [{"delta": {"content": piece}}]})
            yield _event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
            yield f"data: {DONE}\n\n"
        finally:
            running -= 1

    async def complete(request: Request) -> Response:
        try:
            messages = (await request.json())["messages"]
        except ClientDisconnect:  # its client was killed meanwhile
            return Response(status_code=400)
        done = any(message["role"] == "assistant" for message in messages)
        return StreamingResponse(turn(FINISH if done else SEGMENT), media_type="text/event-stream")

    routes = [
        Route("/v1/models", models),
        Route("/running", count),
        Route("/v1/chat/completions", complete, methods=["POST"]),
    ]
    return Starlette(routes=routes)


def _event(chunk: dict[str, Any]) -> str:
    return f"data: {json.dumps(chunk)}\n\n"


if __name__ == "__main__":
    uvicorn.run(application(float(sys.argv[2])), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
