"""A page to look at trajectories: each turn's picture with what was called upon it, the thought and the outcome."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from rsagent.training.synthesis.records import Step, Trajectory

PAGE = "index.html"
STYLE = """
body { font: 14px/1.35 system-ui, sans-serif; margin: 1.5em; background: #fafafa; color: #222 }
section { background: #fff; border: 1px solid #ddd; border-radius: 6px; padding: .6em .8em; margin: .8em 0 }
h2 { font-size: 15px; margin: 0 0 .4em } small { color: #777; font-weight: normal }
.turns { display: flex; flex-wrap: wrap; gap: 10px } figure { margin: 0; width: 208px }
figure.slip { background: #fdecea; outline: 3px solid #fdecea } svg { width: 100%; height: auto; display: block }
figcaption { font-size: 12px } .call { color: #666 } pre { background: #fff; padding: .6em; border: 1px solid #ddd }
"""


def page(folder: Path, shown: Sequence[Trajectory], composition: str) -> Path:
    """Write the page beside the trajectories' pictures, which it refers to; its path."""
    sections = "\n".join(map(_section, shown))
    text = (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Trajectories</title>"
        f"<style>{STYLE}</style><h1>Trajectories</h1><details><summary>Composition</summary>"
        f"<pre>{escape(composition)}</pre></details>\n{sections}</html>\n"
    )
    (folder / PAGE).write_text(text, encoding="utf-8")
    return folder / PAGE


def some_of_each(items: Iterable[Trajectory], each: int) -> list[Trajectory]:
    """The first `each` of every shape and kind of request, shape by shape."""
    groups: defaultdict[tuple[str, str], list[Trajectory]] = defaultdict(list)
    for item in items:
        if len(group := groups[item.meta.shape, item.meta.kind]) < each:
            group.append(item)
    return [item for key in sorted(groups) for item in groups[key]]


def _section(item: Trajectory) -> str:
    meta = item.meta
    head = f"{escape(meta.query)} <small>{meta.kind} · {meta.shape} · IoU {meta.iou:.2f} · {meta.stop} of {meta.budget}"
    turns = "".join(_turn(item, turn) for turn in range(item.turns))
    return f"<section><h2>{head} · {escape(item.id)}</small></h2><div class='turns'>{turns}</div></section>"


def _turn(item: Trajectory, turn: int) -> str:
    step = item.meta.steps[turn]
    image, frame = _seen(item, turn)
    call = step.tool + (f" → IoU {step.iou:.2f}" if step.iou >= 0 else "")
    slip = f" <b>not learnt: {step.slip}</b>" if step.slip else ""
    x1, y1, x2, y2 = frame
    drawn = f"<image href='{image}' x='{x1}' y='{y1}' width='{x2 - x1}' height='{y2 - y1}'/>{_marks(step, x2 - x1)}"
    picture = f"<svg viewBox='{x1} {y1} {x2 - x1} {y2 - y1}'>{drawn}</svg>"
    words = f"“{escape(step.thought)}”<br><span class='call'>{call}</span>{slip}"
    return f"<figure{' class=slip' if step.slip else ''}>{picture}<figcaption>{words}</figcaption></figure>"


def _marks(step: Step, width: int) -> str:
    """The box (blue; a zoom's dashed) and the points (green adds, red takes away) of a call."""
    line, marks = width / 110, ""
    if step.bbox:
        x1, y1, x2, y2 = step.bbox
        dash = f" stroke-dasharray='{3 * line} {2 * line}'" if step.tool == "zoom" else ""
        marks = f"<rect x='{x1}' y='{y1}' width='{x2 - x1}' height='{y2 - y1}' fill='none' stroke='#18f'"
        marks += f" stroke-width='{line}'{dash}/>"
    for x, y, label in step.points:
        colour = "#0c0" if label else "#e00"
        marks += f"<circle cx='{x}' cy='{y}' r='{2 * line}' fill='{colour}' stroke='#fff' stroke-width='{line / 2}'/>"
    return marks


def _seen(item: Trajectory, turn: int) -> tuple[str, tuple[int, int, int, int]]:
    """The last picture before a turn of the frame that it speaks of, and what that frame shows."""
    frames, opened = [0], 0
    for step in item.meta.steps[:turn]:
        if step.tool == "zoom":
            opened += 1
            frames.append(opened)
        elif step.tool == "segment":
            frames.append(step.frame)
    step = item.meta.steps[turn]
    wanted = step.frame if step.tool in ("segment", "zoom") else frames[-1]
    number = max(place for place, frame in enumerate(frames) if frame == wanted)
    return item.images[number], item.meta.frames[wanted]
