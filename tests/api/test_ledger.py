from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rsagent.api.ledger import Ledger, Recording
from rsagent.api.settings import IdempotencySettings
from rsagent.errors import Conflict, PolicyError, RSAgentError

NAME = ("alice", "key")


async def perform(recording: Recording) -> None:
    for number in range(3):
        recording.tell(b"%d" % number)
        await asyncio.sleep(0)
    recording.finish(b"done", "segmented")


async def forever(recording: Recording) -> None:
    recording.tell(b"0")
    await asyncio.sleep(60)


def make(**settings: Any) -> Ledger:
    return Ledger(IdempotencySettings(**settings))


async def test_the_second_hears_what_the_first_did() -> None:
    ledger = make()
    first, is_new = ledger.open(NAME, "print", perform)
    again, is_new_again = ledger.open(NAME, "print", perform)
    assert (is_new, is_new_again, first is again) == (True, False, True)
    assert await first.ended() == b"done"
    assert await first.more(1) == [b"1", b"2"]
    assert await first.more(3) == []


async def test_the_same_key_for_something_else_is_a_conflict_but_not_another_tenants() -> None:
    ledger = make()
    ledger.open(NAME, "print", perform)
    with pytest.raises(Conflict):
        ledger.open(NAME, "other", perform)
    assert ledger.open(("bob", "key"), "other", perform)[1]
    await ledger.close()


async def test_a_failure_is_told_and_forgotten() -> None:
    async def fails(recording: Recording) -> None:
        recording.fail(PolicyError("gone"), "policy_error")

    ledger = make()
    recording, _ = ledger.open(NAME, "print", fails)
    with pytest.raises(PolicyError):
        await recording.ended()
    await asyncio.sleep(0.01)
    assert len(ledger) == 0


async def test_an_answer_is_kept_for_a_while() -> None:
    ledger = make(keep=0.05)
    recording, _ = ledger.open(NAME, "print", perform)
    await recording.ended()
    await asyncio.sleep(0.01)
    assert ledger.open(NAME, "print", perform)[0] is recording
    await asyncio.sleep(0.1)
    assert len(ledger) == 0


async def test_the_oldest_answers_make_room() -> None:
    ledger = make(max_bytes=15)
    first, _ = ledger.open(("alice", "0"), "print", perform)
    for number in range(3):
        recording, _ = ledger.open(("alice", str(number)), "print", perform)
        await recording.ended()
        await asyncio.sleep(0.01)
    assert len(ledger) == 2
    assert first.timer is None, "nothing keeps it in memory until its time"
    assert recording.timer is not None
    assert ledger.open(("alice", "0"), "print", perform)[1], "the first was dropped"
    await ledger.close()


async def test_without_listeners_it_ends_after_a_while_and_one_who_comes_in_time_saves_it() -> None:
    ledger = make(orphan=0.05)
    recording, _ = ledger.open(NAME, "print", forever)
    with ledger.listening(NAME, recording):
        await asyncio.sleep(0)
    await asyncio.sleep(0.02)
    with ledger.listening(NAME, recording):
        await asyncio.sleep(0.08)
        assert not recording.over
    await asyncio.sleep(0.1)
    assert recording.outcome == "cancelled"
    with pytest.raises(RSAgentError, match="nobody listened"):
        await recording.ended()
    assert len(ledger) == 0


async def test_each_who_leaves_last_gives_the_whole_time_anew() -> None:
    ledger = make(orphan=60)
    recording, _ = ledger.open(NAME, "print", forever)
    await asyncio.sleep(0)
    with ledger.listening(NAME, recording):
        pass
    first = recording.timer
    assert first is not None
    with ledger.listening(NAME, recording):
        assert first.cancelled()
    again = recording.timer
    assert again is not None
    assert again.when() > first.when()
    await ledger.close()
    assert again.cancelled()


async def test_closing_ends_what_runs() -> None:
    ledger = make()
    recording, _ = ledger.open(NAME, "print", forever)
    await asyncio.sleep(0)
    await ledger.close()
    assert recording.over
