from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.training.policy.stages import request, scene, scribe

from rsagent.agent.actions import Finish, NoTarget, Segment, Zoom
from rsagent.agent.episode import prompt_of, step
from rsagent.agent.state import EpisodeState, StopReason
from rsagent.policy.protocol import PolicyTurn
from rsagent.training.policy.lessons import DIALECT, opening
from rsagent.training.policy.play import play, segment
from rsagent.training.synthesis.expert import Expert, Move
from rsagent.training.synthesis.slips import astray, slip
from rsagent.training.world.requests import Request


def after(state: EpisodeState, move: Move) -> EpisodeState:
    text = DIALECT.write(move.thought, move.action, state)
    reading = DIALECT.parse(text, state)
    prompt = prompt_of(state, reading.action)
    answer = segment(scene(), prompt.box, np.random.default_rng(0)) if prompt and prompt.box else None
    return step(state, DIALECT, PolicyTurn(text), reading, answer).state


def start(asked: Request, turns: int = 8) -> tuple[EpisodeState, Expert]:
    state, expert = opening(scene(), asked, turns)
    return state, expert


def test_it_asks_for_the_target_then_finishes() -> None:
    state, expert = start(request(0), turns=2)
    first = expert.decide(state)
    assert first.thought == "The dog."
    assert first.action == Segment((40.0, 130.0, 160.0, 270.0), frame=0)
    state = after(state, first)
    assert expert.decide(state) == Move("The dog. It fits.", Finish((1,)))
    assert after(state, expert.decide(state)).stop is StopReason.FINISHED


def test_what_is_not_there_is_reported_by_the_name_that_the_request_says() -> None:
    state, expert = start(request(text="Find the umbrella, please."))
    assert expert.decide(state) == Move("The umbrella. Not here.", NoTarget("no umbrella"))


def test_what_a_sentence_means_and_is_not_there_is_given_no_name() -> None:
    state, expert = start(request(text="what you open when it rains"))
    assert expert.decide(state) == Move("The thing. Not here.", NoTarget("none here"))


def test_several_are_taken_as_they_are_named() -> None:
    state, expert = start(request(1, 0, kind="several"))
    state = after(state, expert.decide(state))
    second = expert.decide(state)
    assert second.thought == "Next: The dog."
    state = after(state, second)
    assert expert.decide(state).action == Finish((1, 2))


def test_several_of_one_name_are_taken_from_left_to_right() -> None:
    _, expert = start(Request("all animals", "several", (1, 0), "animals"))
    assert [placed.name for placed in expert.order] == ["dog", "cat"]


def test_a_small_target_is_zoomed_at_when_there_is_time() -> None:
    state, expert = start(request(2))
    move = expert.decide(state)
    assert isinstance(move.action, Zoom)
    state = after(state, move)
    assert expert.decide(state).action == Segment((200.0, 380.0, 230.0, 400.0), frame=1)
    hurried, expert = start(request(2), turns=2)
    assert isinstance(expert.decide(hurried).action, Segment)


def test_a_wrong_mask_is_named_and_mended() -> None:
    state, expert = start(request(0))
    state = after(state, Move("The dog.", Segment((280.0, 150.0, 400.0, 260.0)), taught=False))
    move = expert.decide(state)
    assert move.thought == "The dog. No, that is the cat."
    assert after(after(state, move), expert.decide(after(state, move))).stop is StopReason.FINISHED


def test_a_sloppy_mask_is_mended() -> None:
    state, expert = start(request(0))
    state = after(state, Move("The dog.", Segment((100.0, 200.0, 220.0, 340.0)), taught=False))
    assert expert.decide(state).thought == "The dog. It does not fit."


def test_a_zoom_that_went_astray_is_made_again_while_there_is_time() -> None:
    state, expert = start(request(2))
    state = after(state, Move("The key. Zoom in.", Zoom((260.0, 100.0, 440.0, 280.0), 0), taught=False))
    again = expert.decide(state)
    assert again == Move("The key. No, elsewhere.", Zoom(expert.surroundings(scene().objects[2]), 0))
    hurried, expert = start(request(2), turns=3)
    hurried = after(hurried, Move("The key. Zoom in.", Zoom((260.0, 100.0, 440.0, 280.0), 0), taught=False))
    assert expert.decide(hurried).action == Segment((200.0, 380.0, 230.0, 400.0), frame=0)


def test_in_a_frame_that_cuts_it_off_what_is_seen_of_it_is_asked_for() -> None:
    state, expert = start(request(0))
    state = after(state, Move("The dog. Zoom in.", Zoom((60.0, 120.0, 240.0, 300.0), 0), taught=False))
    assert expert.decide(state).action == Segment((60.0, 130.0, 160.0, 270.0), frame=1)


@pytest.mark.parametrize("seed", range(12))
def test_a_zoom_is_aimed_roughly_and_never_outside_the_picture(seed: int) -> None:
    state, expert = start(request(2))
    move = astray(expert, expert.decide(state), np.random.default_rng(seed))
    assert isinstance(move.action, Zoom)
    x1, y1, x2, y2 = move.action.bbox
    assert 0 <= x1 < x2 <= 448
    assert 0 <= y1 < y2 <= 448
    assert move.taught == (move.action == expert.decide(state).action)


def test_every_turn_that_speaks_of_one_thing_looks_at_it() -> None:
    lesson = play(scribe(), scene(), request(2), 8, np.random.default_rng(3))
    assert lesson.gazes
    for gaze in lesson.gazes:
        rows, columns = lesson.grids[gaze.picture]
        assert gaze.cells.shape == (rows * columns,)
        assert gaze.cells.any()
        assert lesson.ids[gaze.start] in (scribe().stop, scribe().think)
        assert gaze.start < gaze.stop <= len(lesson.ids)


@pytest.mark.parametrize("seed", range(6))
def test_a_slip_is_an_untaught_box_inside_the_picture(seed: int) -> None:
    state, expert = start(request(0), turns=2)
    move = slip(expert, state, expert.decide(state), np.random.default_rng(seed))
    assert isinstance(move.action, Segment)
    assert move.action.bbox is not None
    assert not move.taught
    x1, y1, x2, y2 = move.action.bbox
    assert 0 <= x1 < x2 <= 448
    assert 0 <= y1 < y2 <= 448


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("targets", [(0,), (1, 2), ()])
def test_every_episode_ends_by_its_own_word(seed: int, targets: tuple[int, ...]) -> None:
    lesson = play(scribe(), scene(), request(*targets), 8, np.random.default_rng(seed))
    said = scribe().tokenizer.decode(lesson.labels[lesson.labels >= 0])
    assert ("report_no_target" in said) != ("finish" in said)
    assert int(lesson.spots.sum()) % 4 == 0
    assert int((lesson.ids == scribe().image).sum()) == sum(rows * columns for rows, columns in lesson.grids)


def test_what_a_relation_refers_to_is_placed_once() -> None:
    asked = replace(request(0, text="the dog left of the cat", kind="relation"), anchor=1)
    lesson = play(scribe(), scene(), asked, 2, np.random.default_rng(3))
    assert scribe().tokenizer.decode(lesson.ids).count("The cat [") == 1
    assert scribe().tokenizer.decode(lesson.ids[lesson.gazes[0].start :]).startswith(". The dog.")
