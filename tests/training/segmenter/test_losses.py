import math

import pytest
import torch

from rsagent.training.segmenter.losses import Grouping, ious, mask_errors, total


def square(top: int = 8, side: int = 12) -> torch.Tensor:
    out = torch.zeros(1, 1, 32, 32)
    out[..., top : top + side, top : top + side] = 1
    return out


def test_a_perfect_mask_costs_next_to_nothing_and_an_empty_one_much() -> None:
    target = square()
    logits = torch.cat([(target * 2 - 1) * 20, torch.full_like(target, -20.0)], 1)
    errors = mask_errors(logits, target)
    assert errors[0, 0] < 1e-2
    assert errors[0, 1] > 1


def test_the_loss_asks_the_best_of_three_and_always_the_first() -> None:
    target = square()
    good, bad = (target * 2 - 1) * 8, -(target * 2 - 1) * 8
    scores = ious(torch.cat([good, good, bad, bad], 1), target)
    one_right = total(torch.cat([good, good, bad, bad], 1), scores, target)
    first_wrong = total(torch.cat([bad, good, bad, bad], 1), scores, target)
    none_right = total(torch.cat([good, bad, bad, bad], 1), scores, target)
    assert one_right < first_wrong
    assert one_right < none_right


def test_a_hole_costs_more_than_as_much_too_much() -> None:
    target = square(8, 14)
    hole, bulge = (target * 2 - 1) * 6, (target * 2 - 1) * 6
    hole[..., 13:17, 13:17] = -6
    bulge[..., 13:17, 22:26] = 6
    assert mask_errors(hole, target) > 1.5 * mask_errors(bulge, target)


def test_a_box_asks_all_three() -> None:
    target = square()
    good, bad = (target * 2 - 1) * 8, -(target * 2 - 1) * 8
    one, all_of_them = torch.cat([good, good, bad, bad], 1), torch.cat([good, good, good, good], 1)
    for logits, ambiguous, low in ((one, True, True), (one, False, False), (all_of_them, False, True)):
        cost = total(logits, ious(logits, target), target, ambiguous=ambiguous)
        assert (cost < 0.5) == low


def test_iou_of_shifted_squares() -> None:
    found = (square(8, 10) * 2 - 1) * 5
    assert ious(found, square(8, 10)).item() == 1
    assert ious(found, square(13, 10)).item() == pytest.approx(25 / 175)


def test_grouping_prefers_features_that_tell_objects_apart() -> None:
    owners = torch.zeros(1, 16, 16, dtype=torch.int64)
    owners[:, 4:12, 4:12] = 1
    owners[:, :, 15] = -1
    apart = torch.stack([(owners == 1).float(), (owners == 0).float()], 1) * 4
    told, untold = (Grouping._together(features[0], owners[0]) for features in (apart, torch.zeros_like(apart)))
    assert told < 0.01
    assert untold.item() == pytest.approx(math.log(2), abs=1e-5)


def test_the_grouping_lesson_teaches() -> None:
    torch.manual_seed(0)
    lesson = Grouping(2)
    features = torch.randn(1, 2, 16, 16, requires_grad=True)
    owners = torch.zeros(1, 16, 16, dtype=torch.int64)
    owners[:, 4:12, 4:12] = 1
    before = lesson(features, owners)
    (slope,) = torch.autograd.grad(before, features)
    assert lesson(features - 20 * slope, owners) < before
