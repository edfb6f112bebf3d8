"""What the expert thinks, in a few words a turn: what the policy learns to say before it acts.

Every thought names what is meant first and judges after it: a small model reads the request into a name, looks the
name up among the image tokens where the sentence stops, and only then can it know whether the thing is here, is small,
or wears the mask. A thought that begins with the judgement asks for it before anything has been looked at. And no
thought says where the meant thing is before the box has been tried: the policy learns to guess the place and then to
trust its guess, which teacher forcing hides (the right place is in the prompt). What a relation refers to is another
matter: its place is a step of its own, looked up like any name, and from there on it stands in words.
"""

from __future__ import annotations

from collections.abc import Iterator

from rsagent.training.world.phrasing import definite, is_plural

PHRASES: dict[str, tuple[str, ...]] = {
    "seek": ("{the}.", "{the}. Mark {it}.", "{the}. Box {it}."),
    "rest": ("Next: {the}.", "Then: {the}.", "Now: {the}."),
    "fits": ("{the}. It fits.", "{the}. All of {it} is marked.", "{the}. That is it.", "{the}. Well covered."),
    "enough": ("{the}. Good enough.", "{the}. It hardly gets better."),
    "wrong": ("{the}. No, that {found_be} {found}.", "{the}. But {found} {found_be} marked.", "{the}. Not {found}."),
    "other": ("{the}. Not that one.", "{the}. No, another one."),
    "sloppy": ("{the}. It does not fit.", "{the}. The mask is off.", "{the}. Badly covered."),
    "lacks": ("{the}. A part is missing.", "{the}. Not all of {it} yet.", "{the}. Add the rest."),
    "spills": ("{the}. The mask spills over.", "{the}. Too much is marked.", "{the}. Take the rest away."),
    "closer": ("{the}. Zoom in.", "{the}. Too small: zoom in.", "{the}. Look closer."),
    "elsewhere": ("{the}. No, elsewhere.", "{the}. Not in this part."),
    "absent": ("{the}. Not here.", "{the}. There is none.", "{the}. Nothing of the kind."),
    "deny": ("{the}. No, that {found_be} {found}. Not here.", "{the}. Only {found}. There is none."),
}
"""Templates by situation, the plainest first."""
SOMETHING = "thing"
"""The name of what a sentence asks for, where nothing in view goes with it."""
TOGETHER = ("All {count} of them.", "That makes {count}.", "{count} in all.")


def the(name: str) -> str:
    """The plain name as a thought opens with it: always "The", so that the name itself is spelled one way only."""
    phrase = definite(name)
    return phrase[0].upper() + phrase[1:]


def _be(name: str) -> str:
    return "are" if is_plural(name) else "is"


def phrase(situation: str, name: str, found: str = "", pick: int = 0) -> str:
    """A thought about `name`, variant `pick` (taken modulo how many there are); `found` is what was marked instead.

    Raises KeyError where there is no such situation.
    """
    wordings = PHRASES[situation]
    it = "them" if is_plural(name) else "it"
    marked = {"found": definite(found), "found_be": _be(found)} if found else {}
    return wordings[pick % len(wordings)].format(the=the(name), it=it, **marked)


def seek(name: str) -> str:
    """The name alone."""
    return phrase("seek", name)


def together(count: int, pick: int = 0) -> str:
    """Several are submitted."""
    return TOGETHER[pick % len(TOGETHER)].format(count=count)


def reference(name: str, place: str) -> str:
    """What a relation refers to and where that is, before the thought about what is meant."""
    return f"{the(name)} {place}."


def missing(name: str) -> str:
    """The reason that `report_no_target` gives."""
    return "none here" if name == SOMETHING else f"no {name}"


def absent(name: str) -> str:
    return phrase("absent", name)


def thoughts(name: str) -> Iterator[str]:
    """Each thought once, for the tokenizer's corpus."""
    for situation, wordings in PHRASES.items():
        yield from (phrase(situation, name, name, pick) for pick in range(len(wordings)))
    yield reference(name, "[8, 16]")
    yield missing(name)
    yield from (together(count, pick) for count in range(2, 7) for pick in range(len(TOGETHER)))


def spellings(name: str) -> tuple[str, ...]:
    """A phrase with and without a leading space and a capital."""
    return name, " " + name, name[0].upper() + name[1:]
