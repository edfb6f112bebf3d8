import pytest
from tests.agent.playing import NATIVE, make_task

from rsagent.agent.episode import begin
from rsagent.agent.state import EpisodeState


@pytest.fixture
def state() -> EpisodeState:
    """A fresh episode over a small picture."""
    return begin(make_task(), NATIVE)
