import pytest
from rsagent.agent.episode import begin
from rsagent.agent.state import EpisodeState

from tests.agent.playing import NATIVE, make_task


@pytest.fixture
def state() -> EpisodeState:
    """A fresh episode over a small picture."""
    return begin(make_task(), NATIVE)
