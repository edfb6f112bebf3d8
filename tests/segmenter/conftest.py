from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.segmenter.tiny import HeldCore, tiny_model

from rsagent.segmenter.architecture import Sam
from rsagent.segmenter.core import SamCore
from rsagent.segmenter.pool import SegmenterPool


@pytest.fixture(scope="session")
def model() -> Sam:
    return tiny_model()


@pytest.fixture(scope="session")
def core(model: Sam) -> SamCore:
    return SamCore(model)


@pytest.fixture
def held() -> HeldCore:
    return HeldCore()


@pytest.fixture
async def pool(held: HeldCore) -> AsyncIterator[SegmenterPool]:
    one = SegmenterPool(held, "held", max_batch=4, queue=12)
    yield one
    held.go.set()
    await one.close()
