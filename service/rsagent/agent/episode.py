"""The decision process: one picture, one request, a policy that acts until something stops it.

Nothing here does I/O and nothing is mutated. `begin` opens an episode; in each turn `prompt_of` says what the
segmenter must be asked (if anything), and `step` takes its answer and returns the next state with the events that a
stream or a trajectory wants. Serving, evaluation, synthesis and RL all drive these three.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rsagent.agent import render
from rsagent.agent.actions import Action, Finish, Malformed, NoTarget, Segment, Zoom
from rsagent.agent.dialects.protocol import Dialect, Reading
from rsagent.agent.events import FrameOpened, MaskProposed, Remark
from rsagent.agent.state import EpisodeResult, EpisodeState, MaskRecord, StopReason, Task, Timings, Turn
from rsagent.agent.stops import stop_of
from rsagent.errors import RSAgentError
from rsagent.geometry import Box, Frame, whole_box
from rsagent.policy.protocol import ImagePart, Message, PolicyTurn
from rsagent.segmenter.protocol import MaskCandidate, Prompt, SegmentResult


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `step` returns: the state after the turn and what there is to tell of it."""

    state: EpisodeState
    events: tuple[MaskProposed | FrameOpened | Remark, ...]

    def timed(self, timings: Timings) -> Outcome:
        """The same with the last turn's timings, which are known only once the step is made."""
        turn = replace(self.state.turns[-1], timings=timings)
        state = replace(self.state, turns=(*self.state.turns[:-1], turn))
        return Outcome(state, tuple(replace(event, turn=turn) for event in self.events))


def begin(task: Task, dialect: Dialect) -> EpisodeState:
    """The state before the first turn: the system's words, the whole picture as frame 0, the request."""
    frame = Frame(0, (0, 0, task.width, task.height), task.view.size(task.width, task.height))
    history = (
        Message.of("system", dialect.system(task.budget)),
        Message.of("user", render.view(task.image, frame), dialect.opening(task)),
    )
    return EpisodeState(task, (frame,), history)


def prompt_of(state: EpisodeState, action: Action) -> Prompt | None:
    """What the segmenter must be asked for `action`; None if it needs no segmenter or only repeats itself."""
    if not isinstance(action, Segment) or repeats(state, action):
        return None
    base = None if action.base_mask is None else state.mask(action.base_mask)
    return Prompt(
        box=action.bbox,
        points=tuple((point.x, point.y, int(point.positive)) for point in action.points),
        base_logits=None if base is None else base.logits,
    )


def repeats(state: EpisodeState, action: Action) -> bool:
    """Whether this very segment or zoom was already made: its answer could only be the same."""
    if not isinstance(action, Segment | Zoom):
        return False
    return any(turn.action == action for turn in state.turns)


def step(
    state: EpisodeState,
    dialect: Dialect,
    reply: PolicyTurn,
    reading: Reading,
    answer: SegmentResult | None = None,
    timings: Timings = Timings(),
) -> Outcome:
    """The state after one turn. `answer` is the segmenter's to `prompt_of(state, reading.action)`."""
    turn = Turn(len(state.turns) + 1, reply, reading.thought, reading.action, given=reading.given, timings=timings)
    move = _Move(state, dialect, turn)
    match reading.action:
        case Segment() | Zoom() as action if repeats(state, action):
            outcome = move.remark("You made this very call before: change it, or finish.", repeated=True)
        case Segment() as action:
            assert answer is not None, "a segment call was stepped without the segmenter's answer"
            outcome = move.mask(action, answer)
        case Zoom() if not move.may_zoom:
            outcome = move.remark("No zoom is left: segment in a picture you have.")
        case Zoom() as action:
            outcome = move.frame(action)
        case Malformed() as malformed:
            outcome = move.remark(malformed.advice)
        case Finish() | NoTarget():
            outcome = move.close()
    return replace(outcome, state=replace(outcome.state, stop=stop_of(outcome.state)))


def conclude(state: EpisodeState, stop: StopReason | None = None, error: RSAgentError | None = None) -> EpisodeResult:
    """The result of a stopped episode, or of one that `stop` ends from outside.

    A finish submits the masks it names; a budget, a deadline or a failure leaves the latest mask that is not empty,
    which is the policy's best hypothesis, flagged by its stop reason.
    """
    reason = stop or state.stop
    assert reason is not None, "an episode was concluded while it goes on"
    last = state.turns[-1].action if state.turns else None
    if reason is StopReason.FINISHED and isinstance(last, Finish):
        masks = tuple(record for mask_id in last.mask_ids if (record := state.mask(mask_id)) is not None)
    elif reason is StopReason.NO_TARGET:
        masks = ()
    else:
        masks = tuple(record for record in state.masks[::-1] if record.area)[:1]
    return EpisodeResult(replace(state, stop=reason), reason, masks, error)


@dataclass(frozen=True, slots=True)
class _Move:
    """One turn being made on a state."""

    state: EpisodeState
    dialect: Dialect
    turn: Turn

    @property
    def left(self) -> int:
        return self.state.task.budget.turns - self.turn.index

    @property
    def may_zoom(self) -> bool:
        most = self.state.task.budget.zooms
        return most is None or len(self.state.frames) - 1 < most

    def mask(self, action: Segment, answer: SegmentResult) -> Outcome:
        frame = self.state.frames[action.frame]
        record = _record(len(self.state.masks) + 1, self.turn.index, action, answer.best)
        overlay = render.overlay(_base(self.state, frame), record.mask, frame)
        words = self.dialect.observe_mask(record, frame, self.state.task, self.left)
        turn = replace(self.turn, mask_id=record.mask_id, frame=frame.index, encoded=answer.encoded)
        state = self._told(turn, words, overlay)
        return Outcome(replace(state, masks=(*state.masks, record)), (MaskProposed(state.turns[-1], record, overlay),))

    def frame(self, action: Zoom) -> Outcome:
        task = self.state.task
        box = whole_box(action.bbox, task.width, task.height, least=task.view.factor)
        frame = Frame(len(self.state.frames), box, task.view.size(box[2] - box[0], box[3] - box[1]))
        view = render.view(task.image, frame)
        words = self.dialect.observe_frame(frame, self.left)
        state = self._told(replace(self.turn, frame=frame.index), words, view)
        return Outcome(replace(state, frames=(*state.frames, frame)), (FrameOpened(state.turns[-1], frame, view),))

    def remark(self, advice: str, repeated: bool = False) -> Outcome:
        words = self.dialect.observe_remark(advice, self.left)
        state = self._told(replace(self.turn, repeated=repeated), words)
        return Outcome(state, (Remark(state.turns[-1]),))

    def close(self) -> Outcome:
        history = (*self.state.history, Message.of("assistant", self.turn.reply.text))
        return Outcome(replace(self.state, history=history, turns=(*self.state.turns, self.turn)), ())

    def _told(self, turn: Turn, words: str, *pictures: ImagePart) -> EpisodeState:
        """The state with this turn and its observation appended."""
        said = Message.of("assistant", turn.reply.text)
        seen = Message.of("user", *pictures, words)
        turns = (*self.state.turns, replace(turn, observation=words))
        return replace(self.state, history=(*self.state.history, said, seen), turns=turns)


def _record(mask_id: int, turn: int, action: Segment, best: MaskCandidate) -> MaskRecord:
    rows, columns = np.flatnonzero(best.mask.any(1)), np.flatnonzero(best.mask.any(0))
    box: Box = (0.0, 0.0, 0.0, 0.0)
    if len(rows):
        box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    elif action.bbox is not None:
        box = action.bbox
    area = int(np.count_nonzero(best.mask))
    return MaskRecord(mask_id, turn, action.frame, best.mask, best.logits, best.score, box, area)


def _base(state: EpisodeState, frame: Frame) -> render.Pixels:
    """The frame's clean view: the first picture of the message that opened it."""
    shown = (turn for turn in state.turns if isinstance(turn.action, Zoom) and turn.frame == frame.index)
    opened = next(shown, None)
    message = state.history[1] if opened is None else state.history[2 + 2 * (opened.index - 1) + 1]
    picture = message.parts[0]
    assert isinstance(picture, ImagePart), "a frame's message opens with its picture"
    return picture.pixels
