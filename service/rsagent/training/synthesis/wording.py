"""What the expert thinks, in a few words a turn: what the policy learns to say before it acts.

Every thought names what is meant first and judges after it: a small model reads the request into a name, looks the
name up among the image tokens where the sentence stops, and only then can it know whether the thing is here, is small,
or wears the mask. A thought that begins with the judgement asks for it before anything has been looked at.
"""

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
    return f"{the(name)}. It fits."


def wrong(found: str, name: str) -> str:
    """The mask, or the frame, shows something else."""
    return f"{the(name)}. No, that {_be(found)} {definite(found)}."


def sloppy(name: str) -> str:
    """The mask shows the right thing badly."""
    return f"{the(name)}. It does not fit."


def closer(name: str) -> str:
    return f"{the(name)}. Zoom in."


def elsewhere(name: str) -> str:
    """The zoom shows something else."""
    return f"{the(name)}. No, elsewhere."


def rest(name: str) -> str:
    """One of several has its mask; now the next."""
    return f"Next: {seek(name)}"


def together(count: int) -> str:
    return f"All {count} of them."


def absent(name: str) -> str:
    return f"{the(name)}. Not here."


def missing(name: str) -> str:
    """The reason that `report_no_target` gives."""
    return f"no {name}"


def thoughts(name: str) -> Iterator[str]:
    """Each thought once, for the tokenizer's corpus."""
    yield from (seek(name), wrong(name, name), sloppy(name), closer(name), elsewhere(name), rest(name))
    yield from (fits(name), absent(name), missing(name), *(together(count) for count in range(2, 7)))


def spellings(phrase: str) -> tuple[str, ...]:
    """A phrase with and without a leading space and a capital."""
    return phrase, " " + phrase, phrase[0].upper() + phrase[1:]
