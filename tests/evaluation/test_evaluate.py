"""Samples played through the real loop, with scripted engines, and scored."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.api.stage import FINISH, NO_TARGET
from tests.evaluation.rows import LAST, LEFT, WHOLE, sample

from rsagent.agent.runner import Runner
from rsagent.agent.state import Budget
from rsagent.errors import Overloaded, PolicyError, RSAgentError
from rsagent.evaluation import Attempt, Halted, Loaded, Row, Sample, evaluate, playing
from rsagent.policy.fake import ScriptedPolicy
from rsagent.segmenter.fake import FakeSegmenter


async def scored(script: list[str], absent: bool = False, turns: int = 8) -> Row:
    answer = playing(Runner(ScriptedPolicy(script), FakeSegmenter()), Budget(turns=turns))
    (row,) = (await evaluate([sample(absent=absent)], answer)).rows
    return row


async def test_the_submitted_mask_is_scored_and_the_better_one_remembered() -> None:
    row = await scored([LEFT, WHOLE, LAST])
    assert (row.iou, row.oracle) == (0.5, 1.0)
    assert row.iou_by_mask == (1.0, 0.5)
    assert row.iou_by_turn == (1.0, 0.5, 0.5)
    assert (row.turns, row.stop, row.encodes, row.error) == (3, "finished", 1, None)
    assert row.completion_tokens > 0


async def test_one_shot_submits_its_only_mask() -> None:
    row = await scored([LEFT, FINISH], turns=1)
    assert (row.iou, row.stop, row.turns, row.iou_by_turn) == (1.0, "turn_budget", 1, (1.0,))


async def test_saying_absent_counts_only_where_nothing_is() -> None:
    assert (await scored([NO_TARGET], absent=True)).iou == 1.0
    row = await scored([NO_TARGET])
    assert (row.iou, row.intersection, row.union) == (0.0, 0, 2048)


async def test_a_mask_of_something_absent_counts_nothing() -> None:
    row = await scored([LEFT, FINISH], absent=True)
    assert (row.iou, row.oracle, row.iou_by_turn) == (0.0, 0.0, (0.0, 0.0))


async def test_garbage_on_an_absent_target_is_no_answer() -> None:
    row = await scored(["hm"], absent=True)
    assert (row.iou, row.malformed) == (0.0, 3)


async def test_results_keep_the_samples_order_and_all_are_told() -> None:
    runner = Runner(ScriptedPolicy([LEFT, FINISH]), FakeSegmenter(delay=0.001))
    samples = [sample(str(number)) for number in range(20)]
    told: list[Row] = []
    report = await evaluate(samples, playing(runner), at_once=4, done=told.append)
    assert [row.id for row in report.rows] == [one.id for one in samples]
    assert len(told) == 20
    assert report.giou == 1.0


async def test_never_more_than_so_many_at_once() -> None:
    segmenter = FakeSegmenter(delay=0.001)
    most = 0

    async def answer(image: NDArray[np.uint8], query: str) -> Attempt:
        nonlocal most
        attempt = await playing(Runner(ScriptedPolicy([LEFT, FINISH]), segmenter))(image, query)
        most = max(most, segmenter.running + 1)
        return attempt

    await evaluate([sample(str(number)) for number in range(12)], answer, at_once=3)
    assert 1 <= most <= 3


async def test_a_failed_engine_is_a_row_that_scores_nothing() -> None:
    policy = ScriptedPolicy([LEFT], failure=PolicyError("the engine broke"))
    report = await evaluate([sample()], playing(Runner(policy, FakeSegmenter())))
    (row,) = report.rows
    assert row.error == "policy_error: the engine broke"
    assert (row.iou, row.union, report.all.scored, report.all.total) == (0.0, 2048, 0, 1)
    assert report.all.errors == {"policy_error": 1}


async def test_a_full_queue_is_waited_for() -> None:
    tries = 0

    class Busy(FakeSegmenter):
        async def segment(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            nonlocal tries
            tries += 1
            if tries < 3:
                raise Overloaded("full", retry_after=0.001)
            return await super().segment(*args, **kwargs)

    report = await evaluate([sample()], playing(Runner(ScriptedPolicy([LEFT, FINISH]), Busy())))
    assert (report.giou, tries) == (1.0, 3)


async def test_an_answer_that_raises_is_a_row_and_the_others_go_on() -> None:
    async def answer(image: NDArray[np.uint8], query: str) -> Attempt:
        if query == "the cup":
            raise RSAgentError("no")
        return Attempt.found(np.ones((64, 64), dtype=np.bool_))

    other = Sample("two", "all of it", "name", sample().load)
    report = await evaluate([sample(), other], answer)
    assert [row.error for row in report.rows] == ["internal: no", None]
    assert report.giou == 0.25


async def test_who_cannot_go_on_says_so_and_ends_it() -> None:
    async def answer(image: NDArray[np.uint8], query: str) -> Attempt:
        raise Halted("the service is gone")

    with pytest.raises(Halted, match="the service is gone"):
        await evaluate([sample(str(number)) for number in range(5)], answer)


async def test_ignored_pixels_count_for_nobody() -> None:
    right = np.zeros((64, 64), dtype=np.bool_)
    right[:, 32:] = True

    async def answer(image: NDArray[np.uint8], query: str) -> Attempt:
        return Attempt.found(np.ones((64, 64), dtype=np.bool_))

    assert (await evaluate([sample(ignore=right)], answer)).giou == 1.0


async def test_an_empty_submission_where_nothing_is_meant_is_right() -> None:
    async def answer(image: NDArray[np.uint8], query: str) -> Attempt:
        return Attempt.found(np.zeros((64, 64), dtype=np.bool_))

    (row,) = (await evaluate([sample(absent=True)], answer)).rows
    assert (row.iou, row.said_absent) == (1.0, False)


@pytest.mark.parametrize(
    ("samples", "words"), [([], "nothing to evaluate"), ([sample("x"), sample("x")], "two samples have the id 'x'")]
)
async def test_lists_that_are_none_are_refused(samples: list[Sample], words: str) -> None:
    with pytest.raises(RSAgentError, match=words):
        await evaluate(samples, playing(Runner(ScriptedPolicy([LEFT]), FakeSegmenter())))


async def test_a_sample_that_cannot_be_loaded_ends_it() -> None:
    def load() -> Loaded:
        raise RSAgentError("cup.jpg is not there")

    with pytest.raises(RSAgentError, match=r"cup\.jpg is not there"):
        await evaluate(
            [Sample("one", "the cup", "name", load)], playing(Runner(ScriptedPolicy([LEFT]), FakeSegmenter()))
        )
