from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from tests.training.policy.stages import model, request, scene, scribe

from rsagent.training.policy.beginnings import prepare_language
from rsagent.training.policy.episodes import converse
from rsagent.training.policy.grounding import SoftNumbers, answer, language_losses, read_prefix, told
from rsagent.training.policy.lessons import first_lesson
from rsagent.training.policy.play import play
from rsagent.training.policy.tower import encode


def test_only_the_policys_own_words_are_taught() -> None:
    lesson = first_lesson(scribe(), scene(), request(0, text="Find the dog"), 2)
    said = scribe().tokenizer.decode(lesson.labels[lesson.labels >= 0])
    assert said.startswith("<think>The dog.</think><tool_call>")
    assert said.endswith("</tool_call><|im_end|>")
    numbers = scribe().tokenizer.decode(lesson.labels[lesson.spots])
    assert numbers == "88288360600"


def test_branches_and_whole_conversations_predict_alike() -> None:
    torch.manual_seed(0)
    prepare_language(model(), scribe())
    lessons = [first_lesson(scribe(), scene(), request(target), 8) for target in (0, 1)]
    with torch.no_grad():
        view = torch.from_numpy(lessons[0].pictures[0].copy())[None]
        prefix = read_prefix(model(), scribe(), encode(model().model.visual, view), (9, 9))
        branched = answer(model(), scribe(), prefix, [lessons], torch.zeros(1, 81, dtype=torch.long))
        whole = converse(model(), scribe().image, lessons)
    assert torch.equal(branched.labels, whole.labels)
    torch.testing.assert_close(branched.states, whole.states, atol=1e-4, rtol=1e-3)


def test_losses_are_finite_and_figures_come_by_kind() -> None:
    lessons = [play(scribe(), scene(), request(0), 8, np.random.default_rng(0))]
    answered = converse(model(), scribe().image, lessons)
    losses = language_losses(model(), SoftNumbers(scribe(), 1.5), answered, 1)
    assert set(losses) == {"text", "coordinate"}
    assert answered.beside.isfinite()
    assert all(loss.isfinite() for loss in losses.values())
    assert set(told(model(), scribe(), answered, lessons)) <= {"words_name", "iou_name"}


def test_a_relation_knows_where_its_anchor_is_named() -> None:
    asked = replace(request(0, text="the dog left of the kitty, please", kind="relation"), anchor=1)
    lesson = first_lesson(scribe(), scene(), asked, 2)
    assert lesson.anchor == 1
    assert scribe().tokenizer.decode(lesson.ids[: lesson.anchored + 1]).endswith("the kitty")
    assert first_lesson(scribe(), scene(), replace(asked, text="the dog"), 2).anchored == 0


def test_a_relation_is_thought_about_from_where_its_anchor_is() -> None:
    asked = replace(request(0, text="the dog left of the cat", kind="relation"), anchor=1)
    lesson, say = first_lesson(scribe(), scene(), asked, 2), scribe().tokenizer.decode
    begun = lesson.named - lesson.referred
    assert say(lesson.ids[begun : lesson.named]) == "<think>The cat [760, 456]"
    assert say(lesson.labels[lesson.spots]) == "760456" + "88288360600"
    assert say(lesson.ids[lesson.looks]).startswith(". The dog.</think>")


def test_what_a_request_means_is_looked_at_before_it_is_named() -> None:
    lesson = first_lesson(scribe(), scene(), request(0, text="Find the dog"), 2)
    assert lesson.referred == 0
    assert scribe().tokenizer.decode(lesson.ids[lesson.looks]).startswith("<think>The dog.")


def test_looks_at_anchors_count_where_there_are_any() -> None:
    asked = replace(request(0, text="the dog left of the cat", kind="relation"), anchor=1)
    lessons = [first_lesson(scribe(), scene(), one, 8) for one in (asked, request(0, text="the dog"))]
    view = torch.from_numpy(lessons[0].pictures[0].copy())[None]
    prefix = read_prefix(model(), scribe(), encode(model().model.visual, view), (9, 9))
    which = torch.arange(81)[None] % 3
    astray = [answer(model(), scribe(), prefix, [some], which).astray for some in (lessons, lessons[1:])]
    assert astray[0] is not None
    assert astray[0] > 0
    assert astray[1] == 0
