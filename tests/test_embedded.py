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

ABSENT = "the banana"
"""The one example that asks for what is not there."""
ENDS = {StopReason.FINISHED, StopReason.NO_TARGET, StopReason.TURN_BUDGET, StopReason.REPEAT}


async def played(service: Service, example: examples.Example, sentence: str) -> EpisodeResult:
    image = np.asarray(Image.open(example.path).convert("RGB"))
    return (await play_to_end(service.play(image, sentence, deadline=Deadline.after(300)))).result


@pytest.mark.slow
async def test_the_shipped_examples_play_to_their_end() -> None:
    asked = [(example, sentence) for example in examples.load() for sentence in example.sentences]
    async with open_service(Settings()) as service:
        results = [await played(service, example, sentence) for example, sentence in asked]
    assert {result.stop for result in results} <= ENDS
    turns = [turn for result in results for turn in result.state.turns]
    assert sum(isinstance(turn.action, Malformed) for turn in turns) <= 0.05 * len(turns)
    # They were chosen because the pair answers them; another processor's rounding may change its mind about one or two.
    ends = [StopReason.NO_TARGET if sentence == ABSENT else StopReason.FINISHED for _, sentence in asked]
    assert sum(result.stop is end for result, end in zip(results, ends, strict=True)) >= len(asked) - 2
    for result in results:
        zooms = sum(isinstance(turn.action, Zoom) for turn in result.state.turns)
        assert sum(turn.encoded for turn in result.state.turns) <= 1 + zooms
        assert all(record.area > 0 for record in result.masks)
