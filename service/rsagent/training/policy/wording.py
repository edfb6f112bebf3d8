"""What the expert thinks, in one short sentence a turn: the words that the policy learns to say before it acts."""

from __future__ import annotations

from collections.abc import Iterator

from rsagent.geometry import Box
from rsagent.training.world.phrasing import definite, is_plural

EDGE = 0.12


def place(box: Box, width: float, height: float) -> str:
    """Where a box lies in a picture, in words: "top left", "middle"."""
    x, y = (box[0] + box[2]) / 2 / width - 0.5, (box[1] + box[3]) / 2 / height - 0.5
    across = "left" if x < -EDGE else "right" if x > EDGE else ""
    down = "top" if y < -EDGE else "bottom" if y > EDGE else ""
    return " ".join(part for part in (down, across) if part) or "middle"


def the(name: str) -> str:
    """The plain name as a thought opens with it: always "The", so that the name itself is spelled one way only."""
    phrase = definite(name)
    return phrase[0].upper() + phrase[1:]


def _be(name: str) -> str:
    return "are" if is_plural(name) else "is"


def seek(name: str, where: str) -> str:
    return f"{the(name)}, {where}."


def fits(name: str) -> str:
    return f"{the(name)}: it fits."


def wrong(found: str, name: str, where: str) -> str:
    """The mask shows something else: what it shows, then what is meant and where."""
    return f"No, that {_be(found)} {definite(found)}. {seek(name, where)}"


def sloppy(name: str, where: str) -> str:
    """The mask shows the right thing badly."""
    return f"It does not fit. {seek(name, where)}"


def closer(name: str, where: str) -> str:
    return f"{the(name)}, {where}, {_be(name)} small. Zoom in."


def rest(name: str, where: str) -> str:
    """One of several has its mask; now the next."""
    return f"Next: {seek(name, where)}"


def together(count: int) -> str:
    return f"All {count} of them."


def absent(name: str) -> str:
    return f"{the(name)}: not here."


def missing(name: str) -> str:
    """The reason that `report_no_target` gives."""
    return f"no {name}"


def thoughts(name: str) -> Iterator[str]:
    """Each thought once, for the tokenizer's corpus."""
    for where in ("top left", "bottom right", "middle", "top", "bottom", "left", "right"):
        yield from (seek(name, where), wrong(name, name, where), sloppy(name, where), closer(name, where))
        yield rest(name, where)
    yield from (fits(name), absent(name), missing(name), *(together(count) for count in range(2, 7)))


def spellings(phrase: str) -> tuple[str, ...]:
    """A phrase with and without a leading space and a capital."""
    return phrase, " " + phrase, phrase[0].upper() + phrase[1:]
