"""A small picture, a task over it, and a way to play turns by hand."""

from __future__ import annotations

import numpy as np

from rsagent.agent import dialects
from rsagent.agent.actions import Action
from rsagent.agent.episode import prompt_of, step
from rsagent.agent.state import Budget, EpisodeState, Task
from rsagent.policy.protocol import PolicyTurn, ViewSpec
from rsagent.segmenter.protocol import MaskCandidate, Prompt, SegmentResult

NATIVE = dialects.get("qwen3-vl")


def make_task(width: int = 96, height: int = 64, budget: Budget | None = None, query: str = "the cup") -> Task:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Task(image, "id", query, ViewSpec(64 * 64), budget or Budget())


def boxed(task: Task, prompt: Prompt, score: float = 0.9) -> SegmentResult:
    """The segmenter's answer that fills the prompt's box."""
    mask = np.zeros((task.height, task.width), dtype=np.bool_)
    if prompt.box is not None:
        x1, y1, x2, y2 = map(round, prompt.box)
        mask[y1:y2, x1:x2] = True
    best = MaskCandidate(mask, np.zeros((4, 4), dtype=np.float32), score)
    return SegmentResult(best, encoded=False, encode_ms=0.0, decode_ms=1.0, batch_size=1)


def play_action(state: EpisodeState, action: Action) -> EpisodeState:
    """The state after a policy that writes `action` and a segmenter that fills boxes."""
    text = NATIVE.write("because", action, state)
    return play_text(state, text)


def play_text(state: EpisodeState, text: str) -> EpisodeState:
    reading = NATIVE.parse(text, state)
    prompt = prompt_of(state, reading.action)
    answer = None if prompt is None else boxed(state.task, prompt)
    return step(state, NATIVE, PolicyTurn(text), reading, answer).state
