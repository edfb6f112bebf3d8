"""A service's answers are scored as our own engines' are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.api.stage import FINISH, NO_TARGET, Cast, on_air
from tests.evaluation.rows import LAST, LEFT, WHOLE, sample

from rsagent.agent.runner import Runner
from rsagent.agent.state import Budget
from rsagent.api.requests import Options
from rsagent.client import AsyncClient
from rsagent.errors import SegmenterError
from rsagent.evaluation import Halted, Row, asking, evaluate, playing
from rsagent.policy.fake import ScriptedPolicy
from rsagent.segmenter.fake import FakeSegmenter


def untimed(row: Row) -> Row:
    return replace(row, seconds=0.0)


@pytest.mark.parametrize("script", [[LEFT, WHOLE, LAST], [LEFT, FINISH], [NO_TARGET], ["hm", LEFT, FINISH]])
@pytest.mark.parametrize("absent", [False, True])
@pytest.mark.parametrize("turns", [1, 8])
async def test_over_the_wire_the_figures_are_the_same(script: list[str], absent: bool, turns: int) -> None:
    here = playing(Runner(ScriptedPolicy(script), FakeSegmenter()), Budget(turns=turns))
    (ours,) = (await evaluate([sample(absent=absent)], here)).rows
    async with on_air(Cast(script)) as stage, AsyncClient(stage.url) as client:
        there = asking(client, Options(max_turns=turns))
        (theirs,) = (await evaluate([sample(absent=absent)], there)).rows
    assert untimed(theirs) == untimed(ours)
    assert theirs.seconds > 0


async def test_a_failure_of_the_service_is_a_row() -> None:
    broken = Cast(segmenter=FakeSegmenter(failure=SegmenterError("the model broke")))
    async with on_air(broken) as stage, AsyncClient(stage.url, retries=0) as client:
        (row,) = (await evaluate([sample()], asking(client))).rows
    assert row.error is not None
    assert "the model broke" in row.error
    assert row.iou == 0.0


async def test_without_a_service_it_ends() -> None:
    async with AsyncClient("http://127.0.0.1:9", retries=0) as client:
        with pytest.raises(Halted, match="is the service running"):
            await evaluate([sample()], asking(client))


async def test_an_address_that_is_not_the_services_ends_it() -> None:
    async with on_air() as stage, AsyncClient(f"{stage.url}/docs", retries=0) as client:
        with pytest.raises(Halted, match="not_found"):
            await evaluate([sample()], asking(client))
