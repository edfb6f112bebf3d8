"""Which trajectories are kept, and how many of which sort.

The rules are the field's: what is learnt must raise the IoU and end well, a share starts wrong, lengths are balanced.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from rsagent.training.synthesis.acting import RISE
from rsagent.training.synthesis.records import Step, Trajectory

PASS = 0.7
SHARES: Mapping[str | int, float] = {
    "zoomed": 0.23, "early stop": 0.17, "several": 0.12, "corrected": 0.14, "corrected aim": 0.06,
    "refined by clicks": 0.06, "click undone": 0.03, "loose box": 0.03, "hurried": 0.06, "absent": 0.08,
    "absent, after a false alarm": 0.03,
}  # fmt: skip
"""How much of the chosen is of which shape, as far as there are enough of it."""
Key = Callable[[Trajectory], str | int]


def passes(trajectory: Trajectory, least: float = PASS) -> bool:
    """Whether it ends well, by its own word where it had the turns for that, and every learnt step helps."""
    meta = trajectory.meta
    said = meta.stop in ("finished", "no_target") or (meta.stop == "turn_budget" and meta.budget == 1)
    right = (meta.stop == "no_target") == (not meta.meant)
    return said and right and meta.iou >= least and any(trajectory.learnt) and rises(meta.steps)


def rises(steps: Sequence[Step]) -> bool:
    """Whether each learnt mask of an object is better than the mask of it before, by two points of IoU or more."""
    by_object: defaultdict[tuple[float, ...], list[Step]] = defaultdict(list)
    for step in steps:
        if step.iou >= 0 and step.target:
            by_object[step.target].append(step)
    pairs = (pair for made in by_object.values() for pair in pairwise(made))
    return all(after.slip or after.iou >= before.iou + RISE for before, after in pairs)


def water_fill(sizes: Mapping[str | int, int], count: int, shares: Mapping[str | int, float]) -> dict[str | int, int]:
    """How many to take of groups of these sizes, `count` in all: by their shares, and what a small group cannot give
    is shared by the others. Groups without a share have 1."""
    taken: dict[str | int, int] = dict.fromkeys(sizes, 0)
    left = min(count, sum(sizes.values()))
    while left > 0:
        wanting = [key for key in sizes if taken[key] < sizes[key]]
        weight = sum(shares.get(key, 1.0) for key in wanting)
        before = left
        for key in wanting:
            part = min(int(before * shares.get(key, 1.0) / weight), sizes[key] - taken[key], left)
            taken[key] += part
            left -= part
        if left == before:  # less than one each: one by one, the greatest shares first
            for key in sorted(wanting, key=lambda key: -shares.get(key, 1.0))[:left]:
                taken[key] += 1
                left -= 1
    return taken


def spread(items: Sequence[Trajectory], count: int, keys: Sequence[Key]) -> list[Trajectory]:
    """`count` of `items`, spread evenly over the first key's groups, within those over the second's, and so on."""
    if count >= len(items) or not keys:
        return list(items[:count])
    groups: defaultdict[str | int, list[Trajectory]] = defaultdict(list)
    for item in items:
        groups[keys[0](item)].append(item)
    quotas = water_fill({key: len(groups[key]) for key in sorted(groups, key=str)}, count, {})
    return [chosen for key, quota in quotas.items() for chosen in spread(groups[key], quota, keys[1:])]


def choose(items: Sequence[Trajectory], count: int, shares: Mapping[str | int, float] = SHARES) -> list[Trajectory]:
    """At most `count` of the trajectories: shapes by their shares, within a shape as many of each number of turns as
    of any other, within those as many of each kind of request; in the order of `items`."""
    groups: defaultdict[str | int, list[Trajectory]] = defaultdict(list)
    for item in items:
        groups[item.meta.shape].append(item)
    quotas = water_fill({key: len(group) for key, group in groups.items()}, count, shares)
    keys: tuple[Key, ...] = (lambda item: item.turns, lambda item: item.meta.kind)
    kept = {item.id for key, quota in quotas.items() for item in spread(groups[key], quota, keys)}
    return [item for item in items if item.id in kept]


def composition(items: Sequence[Trajectory]) -> str:
    """A Markdown page: how many of which shape, length and kind."""
    tables = {
        "shape": Counter(item.meta.shape for item in items),
        "kind of request": Counter(item.meta.kind for item in items),
        "turns": Counter(str(item.turns) for item in items),
        "turn budget": Counter(str(item.meta.budget) for item in items),
    }
    learnt = sum(sum(item.learnt) for item in items)
    said = sum(item.turns for item in items)
    mean = sum(item.meta.iou for item in items) / max(1, len(items))
    head = f"{len(items)} trajectories, {said} turns of which {learnt} are learnt, mean final IoU {mean:.3f}.\n"
    return "\n".join([head, *(_table(name, counts, len(items)) for name, counts in tables.items())])


def _table(name: str, counts: Counter[str], whole: int) -> str:
    numeric = all(key.isdigit() for key in counts)
    order = sorted(counts.items(), key=(lambda row: int(row[0])) if numeric else (lambda row: -row[1]))
    rows = [f"| {key} | {count} | {count / max(1, whole):.1%} |" for key, count in order]
    return "\n".join([f"| {name} | trajectories | share |", "|---|---|---|", *rows, ""])
