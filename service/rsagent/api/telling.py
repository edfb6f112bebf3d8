"""Episodes told to clients: results and events → documents. Pure and CPU-bound: run it in a worker."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import assert_never

from pydantic import BaseModel

from rsagent import imaging
from rsagent.agent.actions import Action, Finish, Malformed, NoTarget, Segment, Zoom
from rsagent.agent.events import ActionTaken, Ended, Event, FrameOpened, MaskProposed, Remark, ThoughtDelta
from rsagent.agent.state import EpisodeResult, MaskRecord, StopReason, Turn
from rsagent.api import answers
from rsagent.api.requests import Include, Options
from rsagent.errors import DeadlineExceeded, EngineError, RSAgentError
from rsagent.geometry import Box
from rsagent.masks import encode_mask
from rsagent.policy.protocol import ImagePart

Told = tuple[str, BaseModel]
"""An event's name and its data."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What an answer says besides the episode. `arrived` is monotonic; `queue_ms` the wait for a permit."""

    request_id: str
    arrived: float
    queue_ms: float
    options: Options

    def includes(self, part: Include) -> bool:
        return part in self.options.include


def failure_of(result: EpisodeResult) -> RSAgentError | None:
    """The error that an episode ended with, if there is no answer to give: a failed engine, or a deadline that
    passed or a context that was full before any mask. With a mask that is an answer, flagged `incomplete`."""
    if result.stop is StopReason.ENGINE_ERROR:
        return result.error or EngineError("an engine failed: try again")
    if result.stop is StopReason.CONTEXT_BUDGET and not result.masks:
        return result.error
    if result.stop is StopReason.DEADLINE and not result.masks:
        return result.error or DeadlineExceeded("the deadline passed before there was a mask: ask for a longer one")
    return None


def answer(
    result: EpisodeResult,
    setting: Setting,
    seen: Mapping[int, ImagePart],
    objects: Mapping[int, answers.ObjectDocument] = MappingProxyType({}),
) -> answers.SegmentAnswer:
    """The whole answer. `seen` holds, by turn, the picture that followed it; `objects`, by mask, what was told of it
    already: a mask is encoded once."""
    state = result.state
    told = state.turns if setting.includes(Include.TURNS) else ()
    return answers.SegmentAnswer.model_validate(
        {
            "id": setting.request_id,
            "status": result.status,
            "stop_reason": result.stop,
            "image": {"width": state.task.width, "height": state.task.height},
            "objects": [objects.get(record.mask_id) or _object(record, setting) for record in result.masks],
            "turns": [_turn(turn, setting, seen.get(turn.index)) for turn in told],
            "timings_ms": _timings(state.turns, setting),
            "usage": _usage(state.turns),
        }
    )


class Narrator:
    """Tells the events of one stream. A zoom, or a call that leads nowhere, is told once its outcome is known.

    `objects` are the masks that were told, by their id.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self.objects: dict[int, answers.ObjectDocument] = {}
        self._pending: Turn | None = None

    def tell(self, event: Event) -> Iterator[Told]:
        """What `event` makes known. The end of an episode is told by `answer` or its error, not here."""
        match event:
            case ThoughtDelta(turn, text):
                if self._setting.includes(Include.THOUGHTS):
                    yield "thought", answers.ThoughtEvent(turn=turn, text=text)
            case ActionTaken(turn) if isinstance(turn.action, Zoom | Malformed):
                self._pending = turn
            case ActionTaken(turn):
                yield self._action(turn)
            case FrameOpened(turn, frame, view):
                self._pending = None
                opened = answers.FrameDocument(index=frame.index, box=frame.box)
                yield self._action(turn, frame=opened, overlay=self._overlay(view))
            case MaskProposed(turn, record, overlay):
                yield "mask", self._mask(turn, record, overlay)
            case Remark() | Ended():
                yield from self._settle(event)
            case _:
                assert_never(event)

    def _settle(self, event: Remark | Ended) -> Iterator[Told]:
        pending, self._pending = self._pending, None
        if pending is not None:
            yield self._action(event.turn if isinstance(event, Remark) else pending)

    def _action(
        self, turn: Turn, frame: answers.FrameDocument | None = None, overlay: answers.Picture | None = None
    ) -> Told:
        thought = turn.thought if self._setting.includes(Include.THOUGHTS) else None
        return "action", answers.ActionEvent(
            turn=turn.index,
            given=turn.given,
            thought=thought,
            action=_action(turn.action),
            frame=frame,
            overlay=overlay,
            observation=turn.observation or None,
        )

    def _mask(self, turn: Turn, record: MaskRecord, overlay: ImagePart) -> answers.MaskEvent:
        told = self.objects[record.mask_id] = _object(record, self._setting)
        return answers.MaskEvent(
            **told.model_dump(), turn=turn.index, observation=turn.observation, overlay=self._overlay(overlay)
        )

    def _overlay(self, picture: ImagePart) -> answers.Picture | None:
        return _picture(picture) if self._setting.includes(Include.OVERLAYS) else None


def _object(record: MaskRecord, setting: Setting) -> answers.ObjectDocument:
    return answers.ObjectDocument(
        mask_id=record.mask_id,
        mask=encode_mask(record.mask, setting.options.mask_format),
        bbox=_box(record.box),
        area=record.area,
        score=round(record.score, 4),
    )


def _turn(turn: Turn, setting: Setting, seen: ImagePart | None) -> answers.TurnDocument:
    timings, reply = turn.timings, turn.reply
    return answers.TurnDocument(
        index=turn.index,
        thought=turn.thought if setting.includes(Include.THOUGHTS) else None,
        action=_action(turn.action),
        observation=turn.observation,
        mask_id=turn.mask_id,
        given=turn.given,
        timings_ms=answers.StageTimings(
            policy=_ms(timings.policy), segmenter=_ms(timings.segmenter), render=_ms(timings.render)
        ),
        tokens=answers.TurnTokens(
            prompt=reply.prompt_tokens, cached=reply.cached_tokens, completion=reply.completion_tokens
        ),
        overlay=None if seen is None else _picture(seen),
    )


def _action(action: Action) -> answers.ActionDocument:
    match action:
        case Segment(bbox, points, base_mask, frame):
            clicks = [(_px(point.x), _px(point.y), 1 if point.positive else 0) for point in points]
            box = None if bbox is None else _box(bbox)
            return answers.SegmentAction.model_validate(
                {"bbox": box, "points": clicks, "base_mask": base_mask, "frame": frame}
            )
        case Zoom(bbox, frame):
            return answers.ZoomAction(bbox=_box(bbox), frame=frame)
        case Finish(mask_ids):
            return answers.FinishAction(mask_ids=list(mask_ids))
        case NoTarget(reason):
            return answers.NoTargetAction(reason=reason)
        case Malformed(kind, excerpt, advice):
            return answers.MalformedAction(kind=kind, excerpt=excerpt, advice=advice)
        case _:
            assert_never(action)


def _timings(turns: tuple[Turn, ...], setting: Setting) -> answers.RequestTimings:
    return answers.RequestTimings(
        queue=_ms(setting.queue_ms),
        policy=_ms(sum(turn.timings.policy for turn in turns)),
        segmenter=_ms(sum(turn.timings.segmenter for turn in turns)),
        render=_ms(sum(turn.timings.render for turn in turns)),
        total=_ms((time.monotonic() - setting.arrived) * 1000),
    )


def _usage(turns: tuple[Turn, ...]) -> answers.Usage:
    return answers.Usage(
        prompt_tokens=sum(turn.reply.prompt_tokens for turn in turns),
        cached_tokens=sum(turn.reply.cached_tokens for turn in turns),
        completion_tokens=sum(turn.reply.completion_tokens for turn in turns),
        turns=len(turns),
        image_encodes=sum(turn.encoded for turn in turns),
    )


def _picture(part: ImagePart) -> answers.Picture:
    height, width = part.pixels.shape[:2]
    data = base64.b64encode(imaging.encode_jpeg(part.pixels)).decode("ascii")
    return answers.Picture(data=data, width=width, height=height)


def _box(box: Box) -> Box:
    return _px(box[0]), _px(box[1]), _px(box[2]), _px(box[3])


def _px(value: float) -> float:
    return round(value, 2)


def _ms(value: float) -> float:
    return round(value, 2)
