"""The regular expression that every well-formed turn of a native dialect matches, for engines that guide by one.

It holds the policy to what `parse` reads: the tools and their arguments in the order in which `write` spells them, and
coordinates that lie in the frame. What depends on the state (which masks and frames there are) stays open.
"""

from __future__ import annotations

from rsagent.agent.dialects.protocol import Dialect
from rsagent.agent.state import Budget
from rsagent.geometry import Normalised

THOUGHT = 600
REASON = 300

_ID = "[1-9][0-9]{0,2}"
_FRAME = "(0|[1-9][0-9]?)"


def turn_pattern(dialect: Dialect, budget: Budget = Budget()) -> str:
    """A regular expression of literals, classes, groups and repetitions only, which every such engine understands."""
    number = _up_to(dialect.coordinates.top) if isinstance(dialect.coordinates, Normalised) else "(0|[1-9][0-9]{0,4})"
    box = _list(number, 4)
    point = rf"\[{number}, {number}, [01]\]"
    points = _several(point, budget.points)
    where = rf'("bbox_2d": {box}(, "points": {points})?|"points": {points})'
    frame = rf'(, "frame": {_FRAME})?'
    calls = {
        "segment": rf'{where}(, "mask_id": {_ID})?{frame}',
        "zoom": rf'"bbox_2d": {box}{frame}',
        "finish": rf'"mask_ids": {_several(_ID, 16)}',
        "report_no_target": rf'"reason": "[^"\\\x00-\x1f<]{{0,{REASON}}}"',
    }
    told = "|".join(rf'"{name}", "arguments": \{{{arguments}\}}' for name, arguments in calls.items())
    return rf'<think>[^<]{{0,{THOUGHT}}}</think>\n?<tool_call>\n?\{{"name": ({told})\}}\n?</tool_call>'


def _list(item: str, count: int) -> str:
    return rf"\[{', '.join([item] * count)}\]"


def _several(item: str, most: int) -> str:
    return rf"\[{item}(, {item}){{0,{most - 1}}}\]"


def _up_to(top: int) -> str:
    """A whole number from 0 to `top`, which is of nines only."""
    digits = len(str(top))
    assert str(top) == "9" * digits, "a grid that a number of digits describes"
    return "(0|[1-9]" + (f"[0-9]{{0,{digits - 1}}}" if digits > 1 else "") + ")"
