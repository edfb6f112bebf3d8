"""A stream read from the shipped server, typed."""

from contextlib import aclosing

import pytest
from tests.api.stage import FINISH, PNG, SEGMENT, Cast, on_air

from rsagent.api.answers import ActionEvent, MaskEvent, SegmentAnswer
from rsagent.api.requests import Options
from rsagent.client.stream import RequestFailed, Streamed, stream_segment
from rsagent.errors import PolicyError
from rsagent.policy.fake import ScriptedPolicy


async def read(url: str, picture: bytes = PNG, query: str = "the box") -> list[Streamed]:
    return [event async for event in stream_segment(url, picture, query, Options())]


async def test_the_events_come_in_order_and_typed() -> None:
    async with on_air(Cast([SEGMENT, FINISH])) as stage:
        events = await read(stage.url)
    names = [event.name for event in events if event.name != "thought"]
    assert names == ["accepted", "action", "mask", "action", "final"]
    assert isinstance(events[-1].data, SegmentAnswer)
    assert events[-1].data.status == "segmented"
    assert any(isinstance(event.data, MaskEvent) for event in events)
    assert any(isinstance(event.data, ActionEvent) for event in events)


async def test_a_refusal_says_what_the_service_said() -> None:
    async with on_air() as stage:
        with pytest.raises(RequestFailed, match="request ") as refused:
            await read(stage.url, picture=b"no picture")
        assert refused.value.problem is not None
        assert refused.value.problem.status in (400, 415)


async def test_an_error_event_is_raised() -> None:
    async with on_air(Cast(policy=ScriptedPolicy([SEGMENT], failure=PolicyError("the engine is gone")))) as stage:
        with pytest.raises(RequestFailed, match="the engine is gone") as failed:
            await read(stage.url)
        assert failed.value.problem is not None
        assert failed.value.problem.retryable


async def test_nobody_there_says_how_to_start_one() -> None:
    with pytest.raises(RequestFailed, match="rsagent serve"):
        await read("http://127.0.0.1:9")


async def test_another_server_is_told_apart() -> None:
    async with on_air() as stage:
        with pytest.raises(RequestFailed):
            await read(f"{stage.url}/elsewhere")


async def test_closing_hangs_up_and_ends_the_episode() -> None:
    async with on_air(Cast(policy=ScriptedPolicy([SEGMENT], delay=30))) as stage:
        async with aclosing(stream_segment(stage.url, PNG, "the box", Options())) as events:
            async for _ in events:
                break
        await stage.quiet()
