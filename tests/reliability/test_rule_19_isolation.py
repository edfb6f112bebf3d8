"""Rule 19: nothing of one request shows in another: answers do not depend on company, bit by bit."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from loadtests import isolation
from tests.api.stage import FINISH, Cast, call, on_stage

from rsagent import imaging
from rsagent.policy.fake import ScriptedPolicy

COUNT = 200
LIMITS: dict[str, Any] = {"limits": {"inflight": 64, "queue": COUNT, "queue_timeout": 300, "deadline": 300}}


def script(history: Any) -> str:
    """A box that depends on the sentence and on the picture that the policy was shown, to the pixel."""
    number = int(history[1].text.split()[1])
    shown = int(history[1].parts[0].pixels.astype(np.int64).sum()) % 200
    if any(message.role == "assistant" for message in history):
        return FINISH
    return call("segment", bbox_2d=[number, shown, number + 300, shown + 400])


def picture(number: int) -> bytes:
    return imaging.encode_png(np.random.default_rng(number).integers(0, 256, (24, 31, 3), dtype=np.uint8))


async def test_two_hundred_at_once_are_answered_as_one_after_the_other() -> None:
    async def answers(at_once: int) -> list[Any]:
        async with on_stage(Cast(policy=ScriptedPolicy(script, piece_delay=0.0005), settings=LIMITS)) as stage:
            room = asyncio.Semaphore(at_once)

            async def one(number: int) -> Any:
                async with room:
                    answer = (await stage.post(f"box {number}", picture(number))).json()
                return answer["objects"], [turn["observation"] for turn in answer["turns"]], answer["image"]

            return list(await asyncio.gather(*map(one, range(COUNT))))

    alone, together = await answers(1), await answers(COUNT)
    assert len({str(answer) for answer in alone}) > COUNT // 2, "they are distinct"
    assert together == alone


@pytest.mark.slow
async def test_the_shipped_pair_answers_alike_in_company() -> None:
    """With caches and batches on; `python -m loadtests reliability isolation` asks 200."""
    assert await isolation.compare(12) == []
