"""The OpenAI-compatible client, against a real server on this machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from tests.policy.server import GOOD, USAGE, FakeServer, chunk, serving
from tests.policy.tiny import first_turn, next_turn

from rsagent.deadline import Deadline
from rsagent.errors import DeadlineExceeded, Overloaded, PolicyError, RSAgentError
from rsagent.policy.openai import OpenAIPolicy
from rsagent.policy.protocol import History, Message, PolicyTurn, Sampling, TextDelta, ViewSpec
from rsagent.policy.settings import OpenAIPolicySettings

HISTORY = first_turn(1, 32)


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with serving(FakeServer()) as fake:
        yield fake


async def play(
    fake: FakeServer, history: History = HISTORY, sampling: Sampling = Sampling(), /, **settings: Any
) -> tuple[PolicyTurn, list[str]]:
    policy = OpenAIPolicy(OpenAIPolicySettings(base_url=fake.url, **settings))
    try:
        return await collect(policy, history, sampling)
    finally:
        await policy.close()


async def collect(
    policy: OpenAIPolicy, history: History, sampling: Sampling = Sampling()
) -> tuple[PolicyTurn, list[str]]:
    *deltas, last = [event async for event in policy.act(history, sampling, Deadline.after(20))]
    assert isinstance(last, PolicyTurn)
    texts = [delta.text for delta in deltas if isinstance(delta, TextDelta)]
    assert "".join(texts) == last.text
    return last, texts


async def until(condition: Any) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


async def test_a_turn_is_streamed_and_counted(server: FakeServer) -> None:
    server.answers = [(*GOOD[:3], USAGE | {"usage": USAGE["usage"] | {"prompt_tokens_details": {"cached_tokens": 16}}})]  # type: ignore[operator]
    turn, texts = await play(server, HISTORY, Sampling(temperature=0.5, top_p=0.9, seed=3, max_tokens=7, stop=("x",)))
    assert texts == ["<think>a", "b</think>"]
    assert (turn.prompt_tokens, turn.cached_tokens, turn.completion_tokens, turn.finish) == (30, 16, 4, "stop")
    body = server.bodies[0]
    assert body.pop("messages")[0] == {"role": "system", "content": "look and segment"}
    assert body == {
        "model": "served",
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 7,
        "seed": 3,
        "stop": ["x"],
    }


async def test_images_travel_as_data_urls(server: FakeServer) -> None:
    await play(server)
    image, text = server.bodies[0]["messages"][1]["content"]
    assert image["type"] == "image_url"
    assert set(image) == {"type", "image_url"}
    assert image["image_url"]["url"].startswith("data:image/png;base64,")
    assert text == {"type": "text", "text": "segment the red fox"}


async def test_the_settings_choose_name_view_and_dialect(server: FakeServer) -> None:
    policy = OpenAIPolicy(OpenAIPolicySettings(base_url=server.url, model="m", dialect="qwen3-vl", factor=28))
    assert (policy.name, policy.dialect, policy.view) == ("m", "qwen3-vl", ViewSpec(224 * 224, 28, 0))
    await collect(policy, HISTORY)
    assert server.bodies[0]["model"] == "m"
    await policy.close()


async def test_the_key_is_sent_and_never_shown(server: FakeServer) -> None:
    settings = OpenAIPolicySettings(base_url=server.url, api_key=SecretStr("sesame"))
    assert "sesame" not in repr(settings)
    await play(server, api_key=SecretStr("sesame"))
    assert server.headers[0]["authorization"] == "Bearer sesame"


async def test_logprobs_come_from_any_server_and_token_ids_from_vllm(server: FakeServer) -> None:
    first = chunk("a", logprobs={"content": [{"token": "token_id:17", "logprob": -0.5}]})
    second = chunk("b", logprobs={"content": [{"token": "token_id:4", "logprob": -1.5}]}, finish_reason="length")
    server.answers = [(first, second, USAGE)]
    turn, _ = await play(server, HISTORY, Sampling(logprobs=True), server="vllm")
    assert (turn.logprobs, turn.token_ids, turn.finish) == ((-0.5, -1.5), (17, 4), "length")
    assert server.bodies[0]["return_tokens_as_token_ids"] is True
    server.answers = [(chunk("a", logprobs={"content": [{"token": "a", "logprob": -0.5}]}, finish_reason="stop"),)]
    turn, _ = await play(server, HISTORY, Sampling(logprobs=True))
    assert (turn.logprobs, turn.token_ids) == ((-0.5,), ())
    turn, _ = await play(server)
    assert turn.logprobs == ()


@pytest.mark.parametrize(
    ("text", "stop_reason", "whole"),
    [
        ("<tool_call>{}", None, "<tool_call>{}</tool_call>"),
        ("<tool_call>{}</tool_call>", None, "<tool_call>{}</tool_call>"),
        ("no call", None, "no call"),
        ("no call", "END", "no callEND"),
        ("no call", "not asked for", "no call"),
        ("no call", 151645, "no call"),
    ],
)
async def test_a_stop_string_is_kept(server: FakeServer, text: str, stop_reason: Any, whole: str) -> None:
    server.answers = [(chunk(text), chunk(finish_reason="stop", stop_reason=stop_reason), USAGE)]
    turn, _ = await play(server, HISTORY, Sampling(stop=("</tool_call>", "END")))
    assert turn.text == whole


async def test_vllm_is_asked_to_keep_stop_strings(server: FakeServer) -> None:
    await play(server, HISTORY, Sampling(stop=("END",)), server="vllm")
    assert server.bodies[0]["include_stop_str_in_output"] is True


async def test_vllm_is_sent_each_image_once(server: FakeServer) -> None:
    policy = OpenAIPolicy(OpenAIPolicySettings(base_url=server.url, server="vllm"))
    await collect(policy, HISTORY)
    sent = policy.image_bytes_sent
    await collect(policy, HISTORY)
    assert policy.image_bytes_sent == sent
    await collect(policy, next_turn(HISTORY, "no", 1, 32))
    assert policy.image_bytes_sent > sent
    await policy.close()
    first, second, third = [
        [part for message in body["messages"][1::2] for part in message["content"] if part["type"] == "image_url"]
        for body in server.bodies
    ]
    assert first[0]["uuid"] == HISTORY[1].parts[0].uuid  # type: ignore[union-attr]
    assert first[0]["image_url"]["url"].startswith("data:")
    assert second == [{"type": "image_url", "image_url": None, "uuid": first[0]["uuid"]}]
    assert third[0] == second[0]
    assert third[1]["image_url"]["url"].startswith("data:")


@pytest.mark.parametrize("miss", [(400, {}), (500, {}), ({"error": {"message": "no such image"}},)])
async def test_an_image_that_the_server_dropped_is_sent_again(server: FakeServer, miss: Any) -> None:
    server.answers = [GOOD, miss, GOOD]
    policy = OpenAIPolicy(OpenAIPolicySettings(base_url=server.url, server="vllm"))
    await collect(policy, HISTORY)
    turn, _ = await collect(policy, HISTORY)
    assert turn.text == "<think>ab</think>"
    contents = [body["messages"][1]["content"][0]["image_url"] for body in server.bodies]
    assert [content is None for content in contents] == [False, True, False]
    await policy.close()


@pytest.mark.parametrize(
    ("answer", "error", "advice"),
    [
        ((429, {"retry-after": "7"}), Overloaded, "retry in a moment"),
        ((503, {"retry-after": "soon"}), Overloaded, "retry in a moment"),
        ((504, {}), DeadlineExceeded, "more time"),
        ((401, {}), PolicyError, "set the policy's api_key"),
        ((404, {}), PolicyError, "base_url and model"),
        ((400, {}), PolicyError, "in our log"),
        ((500, {}), PolicyError, "look at its log"),
        ("data: <html>hello</html>\n\n", PolicyError, "base_url ends in /v1"),
        ("", PolicyError, "broke off"),
        ((chunk("half"),), PolicyError, "broke off"),
        ((chunk("half"), {"error": "boom"}), PolicyError, "look at its log"),
    ],
)
async def test_each_failure_is_told_by_its_remedy(
    server: FakeServer, answer: Any, error: type[RSAgentError], advice: str
) -> None:
    server.answers = [answer]
    with pytest.raises(error, match=advice) as caught:
        await play(server)
    assert "secret" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
    assert len(server.bodies) == 1
    if error is Overloaded:
        assert caught.value.retry_after in (7.0, 1.0)


async def test_no_server_is_a_policy_error() -> None:
    nobody = FakeServer(url="http://127.0.0.1:9/v1")
    with pytest.raises(PolicyError, match="start it"):
        await play(nobody)
    with pytest.raises(PolicyError, match="start it"):
        await play(nobody, model="named")
    policy = OpenAIPolicy(OpenAIPolicySettings(base_url=nobody.url))
    assert not await policy.ready()
    await policy.close()


async def test_a_server_without_models_asks_for_a_name(server: FakeServer) -> None:
    server.models = {"data": []}
    with pytest.raises(PolicyError, match="by name"):
        await play(server)


async def test_ready_asks_the_server(server: FakeServer) -> None:
    policy = OpenAIPolicy(OpenAIPolicySettings(base_url=server.url + "/"))
    assert await policy.ready()
    await policy.close()


async def test_closing_the_stream_closes_the_connection(server: FakeServer) -> None:
    server.hang = True
    policy = OpenAIPolicy(OpenAIPolicySettings(base_url=server.url))
    stream = policy.act(HISTORY, Sampling(), Deadline.never())
    assert await anext(stream) == TextDelta("<think>a")
    await stream.aclose()
    await until(lambda: server.disconnects == 1)
    await policy.close()


async def test_cancelling_the_caller_closes_the_connection(server: FakeServer) -> None:
    server.hang = True
    task = asyncio.create_task(play(server))
    await until(lambda: server.bodies)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: server.disconnects == 1)


async def test_the_deadline_ends_a_turn_and_its_connection(server: FakeServer) -> None:
    server.hang = True
    policy = OpenAIPolicy(OpenAIPolicySettings(base_url=server.url))
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        async for _ in policy.act(HISTORY, Sampling(), Deadline.after(0.2)):
            pass
    assert time.monotonic() - started < 0.7
    await until(lambda: server.disconnects == 1)
    await policy.close()


async def test_a_silent_server_times_out(server: FakeServer) -> None:
    server.hang = True
    with pytest.raises(DeadlineExceeded, match="stall_timeout"):
        await play(server, stall_timeout=0.1)


async def test_turns_under_way_are_bounded(server: FakeServer) -> None:
    server.hang = True
    policy = OpenAIPolicy(OpenAIPolicySettings(base_url=server.url, max_concurrent=1))
    running = policy.act(HISTORY, Sampling(), Deadline.never())
    await anext(running)
    with pytest.raises(Overloaded):
        await collect(policy, HISTORY)
    await running.aclose()
    server.hang = False
    assert (await collect(policy, HISTORY))[0].finish == "stop"
    await policy.close()


def test_an_address_must_be_http() -> None:
    with pytest.raises(ValidationError):
        OpenAIPolicySettings(base_url="127.0.0.1:8001")


async def test_messages_stay_as_they_are(server: FakeServer) -> None:
    history = (Message.of("user", "one "), Message.of("user", "two", " three"))
    await play(server, history)
    assert server.bodies[0]["messages"] == [
        {"role": "user", "content": "one "},
        {"role": "user", "content": "two three"},
    ]
