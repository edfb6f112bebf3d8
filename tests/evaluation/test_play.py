"""Samples played through the real loop, with scripted engines, and scored."""

import numpy as np
from tests.api.stage import FINISH, NO_TARGET, call

from rsagent.agent.runner import Runner
from rsagent.agent.state import Budget
from rsagent.evaluation.play import Played, play
from rsagent.evaluation.samples import Sample
from rsagent.policy.fake import ScriptedPolicy
from rsagent.segmenter.fake import FakeSegmenter

LEFT = call("segment", bbox_2d=[0, 0, 500, 999])
WHOLE = call("segment", bbox_2d=[0, 0, 999, 999])
LAST = call("finish", mask_ids=[2])


def sample(absent: bool = False) -> Sample:
    truth = np.zeros((64, 64), dtype=np.bool_)
    truth[:, :32] = not absent
    return Sample("one", np.zeros((64, 64, 3), dtype=np.uint8), "the cup", "absent" if absent else "name", truth)


async def scored(script: list[str], absent: bool = False, turns: int = 8) -> Played:
    runner = Runner(ScriptedPolicy(script), FakeSegmenter())
    (played,) = await play(runner, [sample(absent)], Budget(turns=turns))
    return played


async def test_the_submitted_mask_is_scored_and_the_better_one_remembered() -> None:
    played = await scored([LEFT, WHOLE, LAST])
    assert played.iou == 0.5
    assert played.iou_by_mask == (1.0, 0.5)
    assert (played.turns, played.stop, played.encodes) == (3, "finished", 1)


async def test_one_shot_submits_its_only_mask() -> None:
    played = await scored([LEFT, FINISH], turns=1)
    assert (played.iou, played.stop, played.turns) == (1.0, "turn_budget", 1)


async def test_saying_absent_counts_only_where_nothing_is() -> None:
    assert (await scored([NO_TARGET], absent=True)).iou == 1.0
    assert (await scored([NO_TARGET])).iou == 0.0


async def test_a_mask_of_something_absent_counts_nothing() -> None:
    assert (await scored([LEFT, FINISH], absent=True)).iou == 0.0


async def test_garbage_on_an_absent_target_is_no_answer() -> None:
    played = await scored(["hm"], absent=True)
    assert (played.iou, played.malformed) == (0.0, 3)


async def test_results_keep_the_samples_order_and_all_are_told() -> None:
    runner = Runner(ScriptedPolicy([LEFT, FINISH]), FakeSegmenter(delay=0.001))
    samples = [sample() for _ in range(20)]
    told: list[Played] = []
    played = await play(runner, samples, Budget(), at_once=4, done=told.append)
    assert len(played) == len(told) == 20
    assert all(one.iou == 1.0 for one in played)
