from __future__ import annotations

import asyncio
from contextlib import aclosing

import numpy as np
import pytest
from tests.api.stage import FINISH, SEGMENT, picture

from rsagent.agent.events import Ended
from rsagent.errors import NotConfigured, RSAgentError
from rsagent.policy.fake import ScriptedPolicy
from rsagent.policy.openai import OpenAIPolicy
from rsagent.segmenter.fake import FakeSegmenter
from rsagent.service import load_policy, load_segmenter, open_service
from rsagent.settings import PolicySettings, SegmenterSettings, Settings


async def test_a_service_plays_and_closes_its_engines() -> None:
    policy, segmenter = ScriptedPolicy([SEGMENT, FINISH]), FakeSegmenter()
    async with open_service(Settings(), policy=policy, segmenter=segmenter) as service:
        assert await service.ready() == {"policy": True, "segmenter": True}
        async with aclosing(service.play(picture(), "the box")) as events:
            last = [event async for event in events][-1]
        assert isinstance(last, Ended)
        assert last.result.union.any()
        assert service.metrics.registry.get_sample_value("rsagent_stop_total", {"reason": "finished"}) == 1
    assert not policy.healthy
    assert not segmenter.healthy


async def test_budget_and_deadline_default_to_the_settings() -> None:
    settings = Settings(limits={"turns": 2, "deadline": 0.2})
    script = [SEGMENT, SEGMENT.replace("250", "251")]
    async with open_service(settings, policy=ScriptedPolicy(script), segmenter=FakeSegmenter()) as service:
        async with aclosing(service.play(picture(), "x")) as events:
            ended = [event async for event in events][-1]
        assert isinstance(ended, Ended)
        assert ended.result.stop == "turn_budget"
        slow = FakeSegmenter(delay=5)
    async with open_service(settings, policy=ScriptedPolicy(script), segmenter=slow) as service:
        async with aclosing(service.play(picture(), "x")) as events:
            ended = [event async for event in events][-1]
        assert isinstance(ended, Ended)
        assert ended.result.stop == "deadline"


async def test_leaving_an_episode_counts_it_as_cancelled() -> None:
    policy = ScriptedPolicy([SEGMENT], piece_delay=0.01)
    async with open_service(Settings(), policy=policy, segmenter=FakeSegmenter()) as service:
        async with aclosing(service.play(picture(), "x")) as events:
            await anext(events)
        assert service.metrics.registry.get_sample_value("rsagent_stop_total", {"reason": "cancelled"}) == 1
        assert policy.running == 0


async def test_what_is_open_is_closed_if_the_rest_cannot_be() -> None:
    policy = ScriptedPolicy([FINISH])
    settings = Settings(segmenter={"variant": "vit_b"})
    with pytest.raises(RSAgentError):
        async with open_service(settings, policy=policy):
            pass
    assert not policy.healthy


async def test_a_policy_by_url_needs_no_model() -> None:
    settings = PolicySettings.model_validate({"openai": {"base_url": "http://127.0.0.1:9/v1"}})
    policy = await asyncio.to_thread(load_policy, settings)
    assert isinstance(policy, OpenAIPolicy)
    await policy.close()


def test_a_segmenter_without_its_weights_says_what_to_set() -> None:
    with pytest.raises(NotConfigured, match="RSAGENT_SEGMENTER__PATH"):
        load_segmenter(SegmenterSettings(variant="vit_b"))


async def test_images_do_not_mix() -> None:
    async with open_service(Settings(), policy=ScriptedPolicy([SEGMENT, FINISH]), segmenter=FakeSegmenter()) as service:

        async def area(side: int) -> int:
            async with aclosing(service.play(np.zeros((side, side, 3), dtype=np.uint8), "x")) as events:
                ended = [event async for event in events][-1]
            assert isinstance(ended, Ended)
            return len(ended.result.masks[0].mask)

        assert await asyncio.gather(*map(area, range(20, 40))) == list(range(20, 40))
