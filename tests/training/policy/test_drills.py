from __future__ import annotations

import numpy as np
import torch
from tests.training.policy.stages import model, scene, scribe

from rsagent.training.policy.album import Batch, closeup
from rsagent.training.policy.beginnings import number_axes
from rsagent.training.policy.dense import targets_of
from rsagent.training.policy.drills import CALL, Drills, drill, looked_up, told_apart
from rsagent.training.policy.grounding import read_prefix
from rsagent.training.policy.probes import Probes
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


def drills() -> Drills:
    return Drills(scribe(), NAMES, lambda seed: frozenset())


def test_a_drill_is_a_thought_and_a_box() -> None:
    drilled = drills().batch(batch(), targets_of(batch()).which, np.random.default_rng(0))
    first, labels = drilled.ids[0][drilled.ids[0] != 0], drilled.labels[0]
    said = scribe().tokenizer.decode(torch.cat([first, labels[labels >= 0][-1:]]))
    assert said == f"<think>The dog.</think><tool_call>{CALL}88, 288, 360, 600"
    assert drilled.spots.sum(1).tolist() == [4, 4, 4]
    assert drilled.pictures.tolist() == [0, 0, 0]
    assert drilled.names.tolist() == [0, 1, 2]
    assert drilled.cells.any(1).tolist()[:2] == [True, True]


def test_a_name_that_stands_twice_is_no_drill() -> None:
    twice = batch()
    twice.names[0, 1] = 0
    drilled = drills().batch(twice, targets_of(twice).which, np.random.default_rng(0))
    assert drilled.names[drilled.spots.any(1)].tolist() == [2]


def test_a_name_that_is_not_there_is_denied() -> None:
    alone = batch()
    alone.names[0, 1:] = -1
    drilled = drills().batch(alone, targets_of(alone).which, np.random.default_rng(1))
    gone = ~drilled.spots.any(1)
    assert gone.any()
    assert 0 not in drilled.names[gone]
    assert not drilled.cells[gone].any()
    assert (drilled.labels[gone].max(1).values == drills().no).all()


def test_what_the_ground_shows_is_not_denied() -> None:
    alone = batch()
    alone.names[0, 1:] = -1
    shown = Drills(scribe(), NAMES, lambda seed: frozenset({1, 2}))
    assert shown.batch(alone, targets_of(alone).which, np.random.default_rng(1)).names.tolist() == [0]


def test_drills_are_answered_scored_and_probed() -> None:
    page = batch()
    seen = encode(model().model.visual, torch.from_numpy(page.images))
    drilled = drills().batch(page, targets_of(page).which, np.random.default_rng(0))
    prefix = read_prefix(model(), scribe(), seen, (7, 7))
    answered, sought = drill(model(), scribe(), drilled, prefix)
    assert answered.beside.item() > 0
    assert answered.spots.sum() == 12
    assert 0 <= looked_up(model(), scribe(), answered) <= 1
    assert set(told_apart(model(), drills(), answered)) == {"here", "gone"}
    classes = targets_of(page).cell
    loss, right = Probes(len(NAMES))(sought, prefix.cells, classes)
    assert loss.isfinite()
    assert set(right) == {"sought", "shown"}


def test_a_closeup_shows_one_thing_large_and_boxes_fit_what_is_left() -> None:
    page = batch()
    close = closeup(page, (192, 256), np.random.default_rng(2))
    assert close.images.shape == (1, 192, 256, 3)
    for index in np.flatnonzero(close.names[0] >= 0):
        rows, columns = np.nonzero(close.owner[0] == index + 1)
        assert close.boxes[0, index].tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    x1, y1, x2, y2 = close.boxes[0, close.names[0] >= 0].T
    assert max((x2 - x1).max() / 256, (y2 - y1).max() / 192) > 0.25


def test_number_directions_are_orthonormal() -> None:
    torch.testing.assert_close(number_axes() @ number_axes().T, torch.eye(64), atol=1e-5, rtol=0)
