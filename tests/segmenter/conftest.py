from __future__ import annotations

import pytest
from tests.segmenter.tiny import tiny_model

from rsagent.segmenter.architecture import Sam
from rsagent.segmenter.core import SamCore


@pytest.fixture(scope="session")
def model() -> Sam:
    return tiny_model()


@pytest.fixture(scope="session")
def core(model: Sam) -> SamCore:
    return SamCore(model)
