"""What a replica answers, without Ray."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from tests.segmenter.serve.replicas import SETTINGS, HeldReplica, TinyReplica, image
from tests.segmenter.tiny import settle

from rsagent.errors import BadRequest, DeadlineExceeded, Overloaded, SegmenterError
from rsagent.segmenter.protocol import Prompt
from rsagent.segmenter.serve.wire import Answer, Ask, NeedImage, Refused, Standing

PROMPT = Prompt(box=(1.0, 1.0, 3.0, 3.0))


@pytest.fixture
def replica() -> HeldReplica:
    return HeldReplica(SETTINGS)


async def test_pixels_are_asked_for_once(replica: HeldReplica) -> None:
    assert await replica.segment(Ask("a", PROMPT)) == NeedImage()
    first = await replica.segment(Ask("a", PROMPT), image(1))
    later = await replica.segment(Ask("a", PROMPT))
    assert isinstance(first, Answer)
    assert isinstance(later, Answer)
    assert (first.encoded, later.encoded) == (True, False)
    assert (first.height, first.width) == (4, 6)


async def test_those_who_come_while_it_is_encoded_send_no_pixels(replica: HeldReplica) -> None:
    await replica.hold()
    first = asyncio.create_task(replica.segment(Ask("a", PROMPT), image(1)))
    await settle()
    second = asyncio.create_task(replica.segment(Ask("a", PROMPT)))
    await settle()
    await replica.let_go()
    answers = await asyncio.gather(first, second)
    assert [isinstance(answer, Answer) and answer.encoded for answer in answers] == [True, False]


async def test_refusals_are_answers(replica: HeldReplica) -> None:
    for ask, error in ((Ask("a", Prompt()), BadRequest), (Ask("a", PROMPT, 0.0), DeadlineExceeded)):
        reply = await replica.segment(ask, image(1))
        assert isinstance(reply, Refused)
        assert isinstance(reply.error, error)
    replica.held.poison[1.0] = RuntimeError("secret")
    reply = await replica.segment(Ask("a", PROMPT), image(1))
    assert isinstance(reply, Refused)
    assert isinstance(reply.error, SegmenterError)
    assert "secret" not in str(reply.error)


async def test_a_full_pool_refuses_and_a_cancelled_call_leaves_it() -> None:
    replica = HeldReplica({**SETTINGS, "queue": 1})
    await replica.segment(Ask("a", PROMPT), image(2))
    await replica.hold()
    running = asyncio.create_task(replica.segment(Ask("a", PROMPT)))
    await settle()
    reply = await replica.segment(Ask("a", PROMPT))
    assert isinstance(reply, Refused)
    assert isinstance(reply.error, Overloaded)
    running.cancel()
    await settle()
    assert await replica.calls() == 0
    await replica.let_go()
    assert isinstance(await replica.segment(Ask("a", PROMPT)), Answer)


async def test_standing(replica: HeldReplica) -> None:
    assert await replica.standing() == Standing("held", True)


async def test_health_is_a_decode_that_gives_numbers() -> None:
    replica = TinyReplica(SETTINGS)
    await replica.check_health()
    model = replica._pool.core._model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            model.mask_decoder.output_upscaling[0].bias,
            "data",
            np.nan * model.mask_decoder.output_upscaling[0].bias.data,
        )
        with pytest.raises(SegmenterError, match="no numbers"):
            await replica.check_health()
    await replica.check_health()


async def test_a_busy_replica_is_healthy(replica: HeldReplica) -> None:
    await replica.segment(Ask("a", PROMPT), image(2))
    await replica.hold()
    running = asyncio.create_task(replica.segment(Ask("a", PROMPT)))
    await settle()
    await asyncio.wait_for(replica.check_health(), 10)
    await replica.let_go()
    assert isinstance(await running, Answer)
