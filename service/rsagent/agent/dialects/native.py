"""The native dialect: `<think>…</think>`, then one Hermes tool call with coordinates of the frame."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rsagent.agent.actions import Action, Finish, Malformed, NoTarget, Segment, Zoom
from rsagent.agent.dialects.arguments import read_call
from rsagent.agent.dialects.protocol import Reading
from rsagent.agent.dialects.text import find_call, find_thought, last_resort
from rsagent.agent.prompts import COORDINATES, Voice, neutralise
from rsagent.agent.state import Budget, EpisodeState, MaskRecord, Task
from rsagent.geometry import Box, CoordinateFrame, Frame, Normalised, to_frame


@dataclass(frozen=True, slots=True)
class NativeDialect:
    """Hermes calls in a `voice`; places spelled in `coordinates`, written on multiples of `grid`."""

    name: str
    coordinates: CoordinateFrame
    voice: Voice
    grid: int = 1
    stop: tuple[str, ...] = ("</tool_call>",)

    def system(self, budget: Budget) -> str:
        key = "normalised" if isinstance(self.coordinates, Normalised) else "view-pixels"
        top = self.coordinates.top if isinstance(self.coordinates, Normalised) else 0
        return self.voice.system.format(coordinates=COORDINATES[key].format(top=top))

    def opening(self, task: Task) -> str:
        return self.voice.opening.format(query=neutralise(task.query), turns=task.budget.turns)

    def parse(self, text: str, state: EpisodeState) -> Reading:
        try:
            call = find_call(text)
            action = call if isinstance(call, Malformed) else read_call(call, state, self.coordinates)
            return Reading(find_thought(text), action)
        except RecursionError:  # json nests as deep as the text says
            return Reading("", last_resort(text))

    def write(self, thought: str, action: Action, state: EpisodeState) -> str:
        call = json.dumps(self._call(action, state), ensure_ascii=False)
        return f"<think>{thought}</think><tool_call>{call}</tool_call>"

    def place(self, x: float, y: float, frame: Frame) -> str:
        return str(list(to_frame(x, y, frame, self.coordinates, self.grid)))

    def observe_mask(self, record: MaskRecord, frame: Frame, task: Task, left: int) -> str:
        template = self.voice.mask if record.area else self.voice.empty
        return template.format(
            mask_id=record.mask_id,
            frame=frame.index,
            box=", ".join(map(str, self._box(record.box, frame))),
            area=round(100 * record.area / (task.width * task.height)),
            score=min(99, max(0, round(100 * record.score))),
            left=left,
        )

    def observe_frame(self, frame: Frame, left: int) -> str:
        return self.voice.frame.format(frame=frame.index, left=left)

    def observe_remark(self, advice: str, left: int) -> str:
        return self.voice.remark.format(advice=advice, left=left)

    def _call(self, action: Action, state: EpisodeState) -> dict[str, Any]:
        match action:
            case Segment():
                return {"name": "segment", "arguments": self._segment(action, state)}
            case Zoom():
                arguments = {"bbox_2d": self._box(action.bbox, state.frames[action.frame])}
                return {"name": "zoom", "arguments": arguments | self._frame(action.frame, state)}
            case Finish():
                return {"name": "finish", "arguments": {"mask_ids": list(action.mask_ids)}}
            case NoTarget():
                return {"name": "report_no_target", "arguments": {"reason": action.reason}}
            case Malformed():
                return {"name": "malformed", "arguments": {"excerpt": action.excerpt}}

    def _segment(self, action: Segment, state: EpisodeState) -> dict[str, Any]:
        frame = state.frames[action.frame]
        arguments: dict[str, Any] = {}
        if action.bbox is not None:
            arguments["bbox_2d"] = self._box(action.bbox, frame)
        if action.points:
            arguments["points"] = [
                [*to_frame(point.x, point.y, frame, self.coordinates, self.grid), int(point.positive)]
                for point in action.points
            ]
        base = {} if action.base_mask is None else {"mask_id": action.base_mask}
        return arguments | base | self._frame(action.frame, state)

    def _frame(self, frame: int, state: EpisodeState) -> dict[str, Any]:
        return {} if frame == state.last_frame.index else {"frame": frame}

    def _box(self, box: Box, frame: Frame) -> list[int]:
        """Spelled, at least one step of the grid wide and high, so that it reads back as a box."""
        x1, y1 = to_frame(box[0], box[1], frame, self.coordinates, self.grid)
        x2, y2 = to_frame(box[2], box[3], frame, self.coordinates, self.grid)
        top_x, top_y = self.coordinates.limits(frame.view)
        x1, x2 = _apart(x1, x2, int(top_x), self.grid)
        y1, y2 = _apart(y1, y2, int(top_y), self.grid)
        return [x1, y1, x2, y2]


def _apart(low: int, high: int, top: int, step: int) -> tuple[int, int]:
    if high > low:
        return low, high
    return (low, low + step) if low + step <= top else (top - step, top)
