"""A stream's turns, drawn in a terminal as they come."""

from __future__ import annotations

import base64

import cv2
import numpy as np
from rich.console import Console
from rich.markup import escape

from rsagent.api.answers import (
    ActionDocument,
    FinishAction,
    MalformedAction,
    NoTargetAction,
    Picture,
    SegmentAction,
    ZoomAction,
)
from rsagent.cli.picture import Pixels, blocks
from rsagent.client import Accepted, Action, Answer, Event, Proposed, Thought

OUTCOMES = {
    "segmented": "[green]✓[/] {count} submitted",
    "no_target": "[yellow]∅[/] the picture holds no such thing",
    "incomplete": "[yellow]…[/] ended by {reason}; best guess: {count}",
}


class Drawing:
    """Draws events on `console`; with `pictures`, also what the policy sees."""

    def __init__(self, console: Console, pictures: bool) -> None:
        self.console = console
        self.pictures = pictures
        self._in_thought = False

    def draw(self, event: Event) -> None:
        """Draw one event."""
        if self._in_thought and not isinstance(event, Thought):
            self.console.print()
            self._in_thought = False
        match event:
            case Accepted():
                size = f"{event.image.width} × {event.image.height}"
                self.console.print(f"[bold]{escape(event.query)}[/] [dim]in a picture of {size} px[/]")
            case Thought():
                self._thought(event)
            case Action():
                self._action(event)
            case Proposed():
                self._mask(event)
            case Answer():
                self._answer(event)

    def _thought(self, event: Thought) -> None:
        if not self._in_thought:
            self.console.print(f"[cyan]turn {event.turn}[/] ", end="")
            self._in_thought = True
        self.console.print(event.text, end="", style="dim", markup=False, highlight=False, soft_wrap=True)

    def _action(self, event: Action) -> None:
        self.console.print(f"  → {escape(describe(event.action))}", highlight=False)
        if event.observation:
            self.console.print(f"    [yellow]{escape(event.observation)}[/]", highlight=False)
        self._picture(event.overlay)

    def _mask(self, event: Proposed) -> None:
        found = event.found
        where = ", ".join(f"{value:.0f}" for value in found.bbox)
        self.console.print(
            f"  [green]mask {found.mask_id}[/] {found.area} px in [{where}], predicted IoU {found.score:.2f}",
            highlight=False,
        )
        self._picture(event.overlay)

    def _answer(self, answer: Answer) -> None:
        count = {0: "no mask", 1: "1 mask"}.get(len(answer.objects), f"{len(answer.objects)} masks")
        said = OUTCOMES[answer.status].format(count=count, reason=answer.stop_reason.replace("_", " "))
        seconds = answer.timings_ms.total / 1000
        self.console.print(f"{said} [dim]after {len(answer.turns)} turns, {seconds:.1f} s[/]", highlight=False)

    def _picture(self, picture: Picture | None) -> None:
        if self.pictures and picture is not None:
            self.console.print(blocks(pixels_of(picture)))


def describe(action: ActionDocument) -> str:
    """An action in a line of words."""
    match action:
        case SegmentAction():
            parts = [] if action.bbox is None else [f"box {_whole(action.bbox)}"]
            parts += [f"{'+' if point[2] else '−'}({point[0]:.0f}, {point[1]:.0f})" for point in action.points]
            base = "" if action.base_mask is None else f", refining mask {action.base_mask}"
            return f"segment {' '.join(parts)}{base}"
        case ZoomAction():
            return f"zoom into {_whole(action.bbox)}"
        case FinishAction():
            return f"finish with mask {', '.join(map(str, action.mask_ids))}"
        case NoTargetAction():
            return f"report no target: {action.reason}"
        case MalformedAction():
            return f"no valid action ({action.kind.value}): {action.excerpt}"


def pixels_of(picture: Picture) -> Pixels:
    """The picture's pixels, uint8 [h, w, 3] RGB."""
    encoded = np.frombuffer(base64.b64decode(picture.data), dtype=np.uint8)
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
    return np.asarray(decoded, dtype=np.uint8)


def _whole(box: tuple[float, float, float, float]) -> str:
    return f"[{', '.join(f'{value:.0f}' for value in box)}]"
