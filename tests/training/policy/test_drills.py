from __future__ import annotations

import numpy as np
import torch
from tests.training.policy.stages import model, scene, scribe

from rsagent.training.policy.album import Batch
from rsagent.training.policy.beginnings import number_axes
from rsagent.training.policy.drills import CALL, Drills, drill, looked_up
from rsagent.training.policy.tower import encode

NAMES = ("dog", "cat", "key")


def batch() -> Batch:
    """The hand-made scene at half its size, as a page of an album holds it."""
    owner = np.zeros((1, 224, 224), np.uint8)
    boxes, names = np.zeros((1, 10, 4), np.float32), np.full((1, 10), -1, np.int64)
    for index, placed in enumerate(scene().objects):
        owner[0][placed.mask[::2, ::2]] = index + 1
        boxes[0, index], names[0, index] = np.array(placed.box) / 2, placed.name_id
    return Batch(scene().image[None, ::2, ::2].copy(), owner, names, names, boxes, (7,))


def test_a_drill_is_a_thought_and_a_box() -> None:
    ids, labels, spots, owners, cells = Drills(scribe(), NAMES).batch(batch())
    first = ids[0][ids[0] != 0]
    said = scribe().tokenizer.decode(torch.cat([first, labels[0][labels[0] >= 0][-1:]]))
    assert said == f"<think>The dog.</think><tool_call>{CALL}88, 288, 360, 600"
    assert spots.sum(1).tolist() == [4, 4, 4]
    assert owners.tolist() == [0, 0, 0]
    assert cells.any(1).tolist()[:2] == [True, True]


def test_a_name_that_stands_twice_is_no_drill() -> None:
    twice = batch()
    twice.names[0, 1] = 0
    assert len(Drills(scribe(), NAMES).batch(twice)[0]) == 1


def test_drills_are_answered_and_scored() -> None:
    seen = encode(model().model.visual, torch.from_numpy(batch().images))
    answered, beside = drill(model(), scribe(), Drills(scribe(), NAMES), batch(), seen)
    assert beside.item() > 0
    assert answered.spots.sum() == 12
    assert 0 <= looked_up(model(), scribe(), answered) <= 1


def test_number_directions_are_orthonormal() -> None:
    torch.testing.assert_close(number_axes() @ number_axes().T, torch.eye(64), atol=1e-5, rtol=0)
