import asyncio

import pytest

from rsagent.deadline import Deadline
from rsagent.errors import DeadlineExceeded


def test_a_passed_deadline_says_so() -> None:
    deadline = Deadline.after(-1)
    assert deadline.expired
    assert deadline.remaining() == 0
    with pytest.raises(DeadlineExceeded, match="deadline_ms"):
        deadline.check()


def test_never_is_far_away() -> None:
    Deadline.never().check()
    assert not Deadline.never().expired


async def test_the_timeout_ends_with_the_deadline() -> None:
    with pytest.raises(TimeoutError):
        async with Deadline.after(0.01).timeout():
            await asyncio.sleep(10)
    async with Deadline.never().timeout():
        await asyncio.sleep(0)
