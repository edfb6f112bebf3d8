"""The wire format of `/v1/chat/completions`, streamed: what we send, and what we make of the answer."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from rsagent.errors import PolicyError
from rsagent.policy.protocol import ChatMessage, PolicyTurn, Sampling

DONE = "[DONE]"

PLAIN_SAMPLING = {
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
"""What vLLM would otherwise take from the checkpoint's `generation_config.json`: temperature and top_p shall be all."""

_CLOSING_TAG = re.compile(r"</([\w-]+)>")
_TOKEN_ID = re.compile(r"token_id:(\d+)")


class _Delta(BaseModel):
    content: str | None = None


class _TokenLogprob(BaseModel):
    token: str = ""
    logprob: float


class _Logprobs(BaseModel):
    content: list[_TokenLogprob] | None = None


class _Choice(BaseModel):
    delta: _Delta = _Delta()
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    logprobs: _Logprobs | None = None


class _PromptDetails(BaseModel):
    cached_tokens: int | None = None


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None


class Chunk(BaseModel):
    """One event of the stream. Servers add fields of their own; those are skipped."""

    choices: list[_Choice] = Field(default_factory=list)
    usage: _Usage | None = None
    error: dict[str, Any] | str | None = None


def request_body(
    model: str, messages: Sequence[ChatMessage], sampling: Sampling, *, vllm: bool, pattern: str | None = None
) -> dict[str, Any]:
    """The request, every value of it built here: nothing that a client of ours sent is passed on.

    `pattern` is a regular expression that vLLM holds the whole turn to.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": list(messages),
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.logprobs:
        body["logprobs"] = True
    if vllm:
        body |= PLAIN_SAMPLING | {"include_stop_str_in_output": True, "return_tokens_as_token_ids": sampling.logprobs}
    if vllm and pattern is not None:
        body["structured_outputs"] = {"regex": pattern}
    return body


async def events(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """The data of each server-sent event; chat completions fit theirs on one line, so no lines are gathered."""
    async for line in lines:
        if line.startswith("data:"):
            yield line[5:].strip()


def parse_chunk(data: str) -> Chunk:
    """An event's data. Raises PolicyError where it is no chunk of a chat completion."""
    try:
        return Chunk.model_validate_json(data)
    except ValidationError as error:
        raise PolicyError(
            "the policy server answered with something that is no chat completion; check that base_url ends in /v1 of"
            " an OpenAI-compatible server"
        ) from error


class Answer:
    """A turn as it arrives; `text` is what came so far."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self.text = ""
        self._finish: str | None = None
        self._stop_reason: str | int | None = None
        self._usage = _Usage()
        self._logprobs: list[_TokenLogprob] = []

    @property
    def finished(self) -> bool:
        return self._finish is not None

    def add(self, chunk: Chunk) -> str:
        """Take in a chunk; the text it brought."""
        self._usage = chunk.usage or self._usage
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        self._finish = choice.finish_reason or self._finish
        self._stop_reason = choice.stop_reason or self._stop_reason
        if choice.logprobs is not None:
            self._logprobs += choice.logprobs.content or []
        text = choice.delta.content or ""
        self.text += text
        return text

    def close(self) -> str:
        """What is still missing of the text once all has come: the stop string, where the server took it away.

        A server that names it is believed. Of the others' silence only a closing tag can be told: it ended the turn
        if its opening one still waits for it.
        """
        rest = self._stripped_stop() if self._finish == "stop" else ""
        self.text += rest
        return rest

    def turn(self) -> PolicyTurn:
        ids = [_TOKEN_ID.fullmatch(each.token) for each in self._logprobs] if self._sampling.logprobs else []
        details = self._usage.prompt_tokens_details
        finish: Literal["stop", "length"] = "length" if self._finish == "length" else "stop"
        return PolicyTurn(
            text=self.text,
            prompt_tokens=self._usage.prompt_tokens,
            cached_tokens=(details.cached_tokens or 0) if details else 0,
            completion_tokens=self._usage.completion_tokens,
            finish=finish,
            token_ids=tuple(int(match[1]) for match in ids if match) if all(ids) else (),
            logprobs=tuple(each.logprob for each in self._logprobs) if self._sampling.logprobs else (),
        )

    def _stripped_stop(self) -> str:
        if self.text.endswith(self._sampling.stop or "\0"):
            return ""
        if isinstance(self._stop_reason, str):
            return self._stop_reason if self._stop_reason in self._sampling.stop else ""
        return next((stop for stop in self._sampling.stop if self._is_open(stop)), "")

    def _is_open(self, stop: str) -> bool:
        tag = _CLOSING_TAG.fullmatch(stop)
        return tag is not None and self.text.count(f"<{tag[1]}>") > self.text.count(stop)
