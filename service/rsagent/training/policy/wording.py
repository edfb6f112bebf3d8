"""What the expert thinks, in one short sentence a turn: the words that the policy learns to say before it acts."""

from __future__ import annotations

from collections.abc import Iterator

from rsagent.training.world.phrasing import definite, is_plural


def the(name: str) -> str:
    """The plain name as a thought opens with it: always "The", so that the name itself is spelled one way only."""
    phrase = definite(name)
    return phrase[0].upper() + phrase[1:]


def _be(name: str) -> str:
    return "are" if is_plural(name) else "is"


def seek(name: str) -> str:
    """The name alone. Saying where it is before the box has been tried: the policy learns to guess the place and
    then to trust its guess, which teacher forcing hides (the right place is in the prompt)."""
    return f"{the(name)}."


def fits(name: str) -> str:
    return f"{the(name)}: it fits."


def wrong(found: str, name: str) -> str:
    """The mask shows something else: what it shows, then what is meant."""
    return f"No, that {_be(found)} {definite(found)}. {seek(name)}"


def sloppy(name: str) -> str:
    """The mask shows the right thing badly."""
    return f"It does not fit. {seek(name)}"


def closer(name: str) -> str:
    return f"{the(name)} {_be(name)} small. Zoom in."


def rest(name: str) -> str:
    """One of several has its mask; now the next."""
    return f"Next: {seek(name)}"


def together(count: int) -> str:
    return f"All {count} of them."


def absent(name: str) -> str:
    return f"{the(name)}: not here."


def missing(name: str) -> str:
    """The reason that `report_no_target` gives."""
    return f"no {name}"


def thoughts(name: str) -> Iterator[str]:
    """Each thought once, for the tokenizer's corpus."""
    yield from (seek(name), wrong(name, name), sloppy(name), closer(name), rest(name))
    yield from (fits(name), absent(name), missing(name), *(together(count) for count in range(2, 7)))


def spellings(phrase: str) -> tuple[str, ...]:
    """A phrase with and without a leading space and a capital."""
    return phrase, " " + phrase, phrase[0].upper() + phrase[1:]
