"""The main job with both real engines and the shipped weights: the embedded default, as a newcomer runs it."""

import numpy as np
import pytest
from PIL import Image

from rsagent import examples
from rsagent.agent.actions import Malformed, Zoom
from rsagent.agent.runner import play_to_end
from rsagent.agent.state import EpisodeResult, StopReason
from rsagent.deadline import Deadline
from rsagent.service import Service, open_service
from rsagent.settings import Settings

ENDS = {StopReason.FINISHED, StopReason.NO_TARGET, StopReason.TURN_BUDGET, StopReason.REPEAT}


async def played(service: Service, example: examples.Example, sentence: str) -> EpisodeResult:
    image = np.asarray(Image.open(example.path).convert("RGB"))
    return (await play_to_end(service.play(image, sentence, deadline=Deadline.after(300)))).result


@pytest.mark.slow
async def test_the_shipped_examples_play_to_their_end() -> None:
    async with open_service(Settings()) as service:
        results = [
            await played(service, example, sentence) for example in examples.load() for sentence in example.sentences
        ]
    assert {result.stop for result in results} <= ENDS
    turns = [turn for result in results for turn in result.state.turns]
    assert sum(isinstance(turn.action, Malformed) for turn in turns) <= 0.05 * len(turns)
    assert sum(result.complete for result in results) >= len(results) / 2
    for result in results:
        zooms = sum(isinstance(turn.action, Zoom) for turn in result.state.turns)
        assert sum(turn.encoded for turn in result.state.turns) <= 1 + zooms
        assert all(record.area > 0 for record in result.masks)
