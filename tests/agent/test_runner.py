"""The loop against fakes of both engines: what it streams, when it stops, and that nothing is left running."""

import asyncio
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest

from rsagent.agent.events import ActionTaken, Ended, Event, MaskProposed, Remark, ThoughtDelta
from rsagent.agent.runner import Runner, play_to_end
from rsagent.agent.state import Budget, EpisodeResult, StopReason
from rsagent.deadline import Deadline
from rsagent.errors import DeadlineExceeded, Overloaded, PolicyError, SegmenterError
from rsagent.policy.fake import ScriptedPolicy
from rsagent.policy.protocol import Sampling
from rsagent.segmenter.fake import FakeSegmenter

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
BOX = '<think>there</think><tool_call>{"name": "segment", "arguments": {"bbox_2d": [100, 100, 500, 500]}}</tool_call>'
OTHER = '<think>no</think><tool_call>{"name": "segment", "arguments": {"bbox_2d": [500, 96, 900, 504]}}</tool_call>'
DONE = '<think>fits</think><tool_call>{"name": "finish", "arguments": {"mask_ids": [2]}}</tool_call>'


async def played(policy: ScriptedPolicy, segmenter: FakeSegmenter, seconds: float = 20.0) -> list[Event]:
    runner = Runner(policy, segmenter)
    events = runner.play(IMAGE, "the cup", deadline=Deadline.after(seconds))
    return [event async for event in events]


def result_of(events: list[Event]) -> EpisodeResult:
    assert isinstance(events[-1], Ended)
    return events[-1].result


async def test_a_correction_is_streamed_turn_by_turn() -> None:
    policy, segmenter = ScriptedPolicy([BOX, OTHER, DONE]), FakeSegmenter()
    events = await played(policy, segmenter)
    kinds = [type(event) for event in events if not isinstance(event, ThoughtDelta)]
    assert kinds == [ActionTaken, MaskProposed, ActionTaken, MaskProposed, ActionTaken, Ended]
    result = result_of(events)
    assert result.stop is StopReason.FINISHED
    assert [record.mask_id for record in result.masks] == [2]
    assert sum(segmenter.encodes.values()) == 1


async def test_the_deltas_of_a_turn_are_its_text() -> None:
    events = await played(ScriptedPolicy([BOX, OTHER, DONE]), FakeSegmenter())
    for index, text in enumerate([BOX, OTHER, DONE], 1):
        assert "".join(e.text for e in events if isinstance(e, ThoughtDelta) and e.turn == index) == text


async def test_each_turn_sees_what_came_before_and_the_dialects_stop_strings() -> None:
    policy = ScriptedPolicy([BOX, OTHER, DONE])
    await played(policy, FakeSegmenter())
    first, second, third = policy.histories
    assert second[: len(first)] == first
    assert third[: len(second)] == second
    assert all(sampling.stop == ("</tool_call>",) for sampling in policy.samplings)


async def test_garbage_is_remarked_upon_until_its_budget() -> None:
    events = await played(ScriptedPolicy(["hm"]), FakeSegmenter())
    assert sum(isinstance(event, Remark) for event in events) == 3
    assert result_of(events).stop is StopReason.MALFORMED_BUDGET


async def test_a_repeated_call_is_not_segmented_again() -> None:
    segmenter = FakeSegmenter()
    events = await played(ScriptedPolicy([BOX]), segmenter)
    assert len(segmenter.prompts) == 1
    assert result_of(events).stop is StopReason.REPEAT
    assert len(result_of(events).masks) == 1


async def test_the_turn_budget_holds() -> None:
    runner = Runner(ScriptedPolicy([BOX, OTHER]), FakeSegmenter())
    events = runner.play(IMAGE, "x", budget=Budget(turns=1), deadline=Deadline.after(20))
    result = (await play_to_end(events)).result
    assert result.stop is StopReason.TURN_BUDGET
    assert len(result.masks) == 1


async def test_the_deadline_ends_a_slow_policy_with_the_best_mask_so_far() -> None:
    policy = ScriptedPolicy(lambda history: BOX if len(history) == 2 else DONE, piece_delay=0.0)
    segmenter = FakeSegmenter()
    runner = Runner(policy, segmenter)
    seen: list[Event] = []
    async for event in runner.play(IMAGE, "x", deadline=Deadline.after(0.5)):
        seen.append(event)
        if isinstance(event, MaskProposed):
            await asyncio.sleep(0.6)
    result = result_of(seen)
    assert result.stop is StopReason.DEADLINE
    assert isinstance(result.error, DeadlineExceeded)
    assert len(result.masks) == 1


async def test_the_deadline_ends_a_slow_segmenter_and_frees_it() -> None:
    segmenter = FakeSegmenter(delay=30)
    events = await played(ScriptedPolicy([BOX]), segmenter, seconds=0.2)
    assert result_of(events).stop is StopReason.DEADLINE
    assert segmenter.running == 0


@pytest.mark.parametrize(
    ("policy", "segmenter", "error"),
    [
        (ScriptedPolicy([BOX], failure=PolicyError("gone")), FakeSegmenter(), PolicyError),
        (ScriptedPolicy([BOX]), FakeSegmenter(failure=SegmenterError("gone")), SegmenterError),
    ],
)
async def test_a_failed_engine_ends_the_episode(
    policy: ScriptedPolicy, segmenter: FakeSegmenter, error: type[Exception]
) -> None:
    result = result_of(await played(policy, segmenter))
    assert result.stop is StopReason.ENGINE_ERROR
    assert isinstance(result.error, error)


async def test_overload_is_raised_for_the_caller_to_answer() -> None:
    with pytest.raises(Overloaded):
        await played(ScriptedPolicy([BOX], failure=Overloaded("full")), FakeSegmenter())


async def test_an_episode_goes_on_from_a_state_as_if_it_had_never_stopped() -> None:
    whole = result_of(await played(ScriptedPolicy([BOX, OTHER, DONE]), FakeSegmenter()))
    policy, segmenter = ScriptedPolicy([BOX, OTHER, DONE]), FakeSegmenter()
    runner = Runner(policy, segmenter)
    short = runner.play(IMAGE, "the cup", budget=Budget(turns=1), deadline=Deadline.after(20.0))
    first = (await play_to_end(short)).result.state
    held = replace(first, stop=None, task=replace(first.task, budget=Budget()))
    rest = [event async for event in runner.go_on(held, deadline=Deadline.after(20.0))]
    kinds = [type(event) for event in rest if not isinstance(event, ThoughtDelta)]
    assert kinds == [ActionTaken, MaskProposed, ActionTaken, Ended]
    ended = result_of(rest)
    assert [turn.action for turn in ended.state.turns] == [turn.action for turn in whole.state.turns]
    assert ended.stop is StopReason.FINISHED
    assert (ended.union == whole.union).all()


async def test_closing_the_stream_in_a_thought_frees_the_policy() -> None:
    policy = ScriptedPolicy([BOX], piece_delay=0.001)
    async with aclosing(Runner(policy, FakeSegmenter()).play(IMAGE, "x", deadline=Deadline.after(20))) as events:
        async for event in events:
            if isinstance(event, ThoughtDelta):
                break
    assert policy.running == 0


async def test_cancelling_the_reader_in_a_segment_call_frees_the_segmenter() -> None:
    segmenter = FakeSegmenter(delay=30)
    reader = asyncio.create_task(played(ScriptedPolicy([BOX]), segmenter))
    while not segmenter.running:
        await asyncio.sleep(0.001)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert segmenter.running == 0


async def test_many_episodes_at_once_do_not_meet() -> None:
    """Each picture's mask is that of its own request, whatever runs beside it."""

    def reply(history: object) -> str:
        text = str(history)
        left = 8 * int(text.split("object ")[1].split("\\n")[0])
        if "mask 1" in text:
            return '<tool_call>{"name": "finish", "arguments": {"mask_ids": [1]}}</tool_call>'
        box = f'{{"bbox_2d": [{left}, 0, {left + 80}, 400]}}'
        return f'<tool_call>{{"name": "segment", "arguments": {box}}}</tool_call>'

    runner = Runner(ScriptedPolicy(reply), FakeSegmenter(delay=0.001))

    async def one(number: int) -> float:
        events = runner.play(IMAGE, f"object {number}", deadline=Deadline.after(60), sampling=Sampling())
        return (await play_to_end(events)).result.masks[0].box[0]

    lefts = await asyncio.gather(*(one(number) for number in range(50)))
    assert list(lefts) == [round(8 * number / 999 * 96) for number in range(50)]
