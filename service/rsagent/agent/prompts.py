"""Every word that is said to a policy, in one place: serving, synthesis, SFT, RL and evaluation all read it here.

A *voice* is one wording of the same protocol. `FULL` explains the tools to a checkpoint that has never seen them;
`BRIEF` is for the nano policy, which was trained on it: each token of a prompt costs a small model as much as one
it samples.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOOLS = """\
You find the region of a picture that a request means, and you do it by calling tools, one call a turn.
Write one short thought between <think> and </think>, then one call:
<tool_call>{{"name": NAME, "arguments": ARGUMENTS}}</tool_call>
Tools:
- segment {{"bbox_2d": [x1, y1, x2, y2], "points": [[x, y, 1], [x, y, 0]], "mask_id": 1, "frame": 0}}: \
a mask of what the box or the points show (label 1 adds, 0 takes away). "mask_id" refines that earlier mask. \
Give a box, points, or both; the rest may be left out.
- zoom {{"bbox_2d": [x1, y1, x2, y2]}}: look at a part of the picture at full resolution. It opens a new frame.
- finish {{"mask_ids": [1]}}: submit these masks, one for each object that is meant.
- report_no_target {{"reason": "..."}}: nothing in the picture fits the request.
{coordinates} An action speaks of the latest picture shown unless "frame" names another; frame 0 is the whole.
After each segment you are shown the mask in green. If it covers the wrong thing, say what is wrong and call segment
again; if it misses or spills over, refine it with points; if the target is small, zoom in first.
Submit when it fits."""


@dataclass(frozen=True, slots=True)
class Voice:
    """Templates of one wording. Each takes the named fields shown in `FULL`."""

    system: str
    opening: str
    mask: str
    empty: str
    frame: str
    remark: str


FULL = Voice(
    system=_TOOLS,
    opening="Request: {query}\nThe picture is frame 0. You have {turns} turns.",
    mask="Mask {mask_id}, drawn in green on frame {frame}: box [{box}], {area}% of the picture, "
    "predicted IoU 0.{score:02d}. {left} turns left.",
    empty="Mask {mask_id} is empty: the prompt [{box}] shows no object. {left} turns left.",
    frame="Frame {frame}: the zoomed part of the picture. {left} turns left.",
    remark="{advice} {left} turns left.",
)

BRIEF = Voice(
    system="Segment.",
    opening="{query}\nturns {turns}",
    mask="mask {mask_id} box [{box}] area {area} score {score} left {left}",
    empty="mask {mask_id} empty left {left}",
    frame="frame {frame} left {left}",
    remark="error: {advice} left {left}",
)

POINTED = "It does not fit."
"""What stands as the thought of a move that the user made: a judgement that every voice knows."""

COORDINATES = {
    "normalised": "Coordinates are whole numbers from 0 to {top}: 0 is the left or upper edge of the frame, "
    "{top} the right or lower one.",
    "view-pixels": "Coordinates are pixels of the picture as shown to you.",
}

_MARKERS = re.compile(r"<(?=\||/?tool_call|/?think)", re.IGNORECASE)


def neutralise(text: str) -> str:
    """A user's words with everything defused that a chat template or a dialect would read as its own.

    Role and image markers (`<|…|>`) and the tags of a call lose their opening bracket's neighbour to a space;
    control characters become spaces. Ordinary text passes unchanged.
    """
    clean = "".join(char if char.isprintable() or char == " " else " " for char in text)
    return " ".join(_MARKERS.sub("< ", clean).split())
