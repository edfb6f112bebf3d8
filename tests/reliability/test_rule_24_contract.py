"""Rule 24: whatever is sent to a route of the contract, no 5xx, and every answer is what the contract says."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter

import pytest
from loadtests import fuzz, mutants, wire
from loadtests.stand import standing

from rsagent import imaging
from rsagent.errors import BadRequest
from rsagent.settings import ImageLimits

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

CASES = int(os.environ.get("CONTRACT_CASES", "4"))


def test_the_contract_holds_for_generated_requests() -> None:
    """A slice; `python -m loadtests reliability contract` tries 1,000 a route."""
    with standing(0, 0, RSAGENT_LIMITS__QUEUE="64") as stand:
        found = fuzz.contract_of(stand.url, CASES, phases="fuzzing")
        held = stand.left_over()
    assert found["failures"] == 0, found["said"]
    assert set(found["routes"]) == set(found["described"]), "every route of the contract"
    assert {"POST /v1/segment", "POST /v1/segment/batch", "GET /readyz"} <= set(found["routes"])
    assert found["cases"] >= CASES
    assert not held


def test_damaged_requests_on_the_wire_get_no_5xx_and_hang_nothing() -> None:
    async def send_all(address: wire.Address) -> list[wire.Reply]:
        payloads = list(mutants.requests(60))
        replies = []
        for start in range(0, len(payloads), 10):
            replies += await asyncio.gather(
                *(wire.send(address, payload, 30) for payload in payloads[start : start + 10])
            )
        return replies

    with standing(0, 0, RSAGENT_LIMITS__UPLOAD_TIMEOUT="0.5", RSAGENT_SERVER__HEADER_TIMEOUT="0.5") as stand:
        replies = asyncio.run(send_all(stand.address))
        held = stand.left_over()
        assert stand.process.poll() is None
    statuses = Counter(reply.status for reply in replies)
    assert not any(reply.hung for reply in replies)
    assert not any(status >= 500 for status in statuses), statuses
    assert not held


def test_damaged_pictures_are_pictures_or_bad_requests() -> None:
    """A slice of the corpus; the command sends 6,000 of them over HTTP."""
    kinds: Counter[str] = Counter()
    for data in mutants.pictures(400):
        kinds["bad"] += 1
        with contextlib.suppress(BadRequest):
            picture = imaging.decode(data, ImageLimits())
            assert picture.ndim == 3
            kinds["picture"] += 1
    assert kinds["picture"] > 20, "damage that leaves nothing whole tries little"
    assert kinds["bad"] - kinds["picture"] > 100
