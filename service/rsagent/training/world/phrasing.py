"""How people put a request: a few short phrasings for training, others held out for evaluation, and many as people
really type: those that reinforcement learning practises on ("broad") and a quarter that no stage is told ("fresh")."""

from __future__ import annotations

import random
from typing import Literal, cast

from rsagent.training.world.layout import Extreme, Side
from rsagent.training.world.names import read_table

Voice = Literal["train", "heldout", "broad", "fresh"]
Wording = dict[Voice, tuple[str, ...]]


def _further(kind: str) -> Wording:
    """The table's phrasings of a kind, "broad" and "fresh"."""
    found: Wording = {"broad": (), "fresh": ()}
    for of, voice, pattern in read_table("phrasing.tsv"):
        if of == kind:
            found[cast(Voice, voice)] += (pattern,)
    return found


def said(table: Wording, voice: Voice) -> tuple[str, ...]:
    """The phrasings of a voice, those of training where it has none of its own."""
    return table.get(voice) or table["train"]


FRAMES: Wording = {
    "train": (
        "{np}",
        "{np}",
        "find {np}",
        "segment {np}",
        "show me {np}",
        "where {be} {np}?",
        "select {np}",
        "mask {np}",
        "please segment {np}",
        "can you find {np}?",
        "highlight {np}",
        "cut out {np}",
        "I am looking for {np}",
        "find {np} in this picture",
        "I want {np}",
        "mark {np} for me",
    ),
    "heldout": (
        "{np}",
        "outline {np}",
        "could you pick out {np} for me?",
        "point me to {np}",
        "give me a mask of {np}",
        "separate {np} from the rest",
        "I'd like to see only {np}",
        "locate {np}, please",
    ),
    **_further("frame"),
}

EXTREME_PHRASES: dict[Extreme, Wording] = {
    "left": {
        "train": ("the {n} on the left", "the left {n}", "the leftmost {n}", "the {n} to the left"),
        "heldout": ("the {n} furthest to the left", "the {n} on the left side"),
        **_further("extreme-left"),
    },
    "right": {
        "train": ("the {n} on the right", "the right {n}", "the rightmost {n}", "the {n} to the right"),
        "heldout": ("the {n} furthest to the right", "the {n} on the right side"),
        **_further("extreme-right"),
    },
    "top": {
        "train": ("the upper {n}", "the {n} at the top", "the topmost {n}", "the top {n}"),
        "heldout": ("the higher {n}", "the {n} nearer the top"),
        **_further("extreme-top"),
    },
    "bottom": {
        "train": ("the lower {n}", "the {n} at the bottom", "the bottom {n}", "the {n} lower down"),
        "heldout": ("the {n} further down", "the {n} nearer the bottom"),
        **_further("extreme-bottom"),
    },
    "big": {
        "train": ("the bigger {n}", "the larger {n}", "the biggest {n}", "the big {n}"),
        "heldout": ("the largest {n}", "the {n} that looks bigger"),
        **_further("extreme-big"),
    },
    "small": {
        "train": ("the smaller {n}", "the smallest {n}", "the small {n}", "the little {n}"),
        "heldout": ("the tiniest {n}", "the {n} that looks smaller"),
        **_further("extreme-small"),
    },
}

SIDE_PHRASES: dict[Side, Wording] = {
    "left": {
        "train": ("{np} to the left of {anchor}", "{np} left of {anchor}"),
        "heldout": ("{np} on the left side of {anchor}", "{np} on the left of {anchor}"),
        **_further("left"),
    },
    "right": {
        "train": ("{np} to the right of {anchor}", "{np} right of {anchor}"),
        "heldout": ("{np} on the right side of {anchor}", "{np} on the right of {anchor}"),
        **_further("right"),
    },
    "above": {
        "train": ("{np} above {anchor}", "{np} over {anchor}"),
        "heldout": ("{np} higher up than {anchor}",),
        **_further("above"),
    },
    "below": {
        "train": ("{np} below {anchor}", "{np} under {anchor}"),
        "heldout": ("{np} beneath {anchor}", "{np} lower down than {anchor}"),
        **_further("below"),
    },
    "near": {
        "train": ("{np} next to {anchor}", "{np} closest to {anchor}", "{np} near {anchor}"),
        "heldout": ("{np} beside {anchor}", "{np} nearest to {anchor}"),
        **_further("near"),
    },
}

THINGS: Wording = {
    "train": ("the thing", "the object"),
    "heldout": ("the item", "the thing"),
    **_further("thing"),
}

ALL_PHRASES: Wording = {
    "train": ("all the {ns}", "all {ns}", "the {ns}", "every {n}"),
    "heldout": ("each {n}", "all of the {ns}"),
    **_further("all"),
}

PAIR_PHRASES: Wording = {
    "train": ("{a} and {b}", "both {a} and {b}"),
    "heldout": ("{a} together with {b}", "{a} as well as {b}"),
    **_further("pair"),
}

COUNT_PHRASES: Wording = {
    "train": ("the {count} {ns}", "all {count} {ns}", "all the {count} {ns}"),
    "heldout": ("all {count} of the {ns}", "every one of the {count} {ns}"),
}

BOTH: Wording = {
    "train": ("both {ns}", "both the {ns}", "the two {ns}"),
    "heldout": ("both of the {ns}", "the two {ns} together"),
}

ORDINAL_PHRASES: Wording = {
    "train": ("the {ordinal} {n} from the {side}", "the {ordinal} {n} starting from the {side}"),
    "heldout": ("the {ordinal} {n} counted from the {side}", "the {n} that comes {ordinal} from the {side}"),
}

MIDDLE_PHRASES: Wording = {
    "train": ("the {n} in the middle", "the middle {n}"),
    "heldout": ("the {n} between the other two",),
}

EXCEPT_PHRASES: Wording = {
    "train": ("all the {ns} except {np}", "all {ns} but {np}", "every {n} except {np}"),
    "heldout": ("all the {ns} apart from {np}", "each {n} other than {np}"),
}

EXCEPT_ONE: Wording = {
    "train": ("the {n} that is not {np}", "the {n} which is not {np}"),
    "heldout": ("the {n} other than {np}",),
}

PLURAL_NOUNS = frozenset({"grapes", "scissors", "cherries", "blueberries", "pants", "trousers", "binoculars"})
PLURAL_NOUNS |= {"pliers", "field glasses"}
PROPER = frozenset({"santa claus", "santa", "father christmas", "saturn", "planet earth"})
IRREGULAR = {
    "mouse": "mice",
    "goose": "geese",
    "tooth": "teeth",
    "scarf": "scarves",
    "fireman": "firemen",
    "snowman": "snowmen",
    "spaceman": "spacemen",
}
SAME = frozenset({"sheep", "fish", "deer", "reindeer", "bison", "shrimp", "caribou", "broccoli", "corn", "garlic"})
SAME |= {"lettuce", "lavender", "clownfish", "lionfish", "buffalo"}


def is_plural(phrase: str) -> bool:
    """Whether a noun phrase of this module takes "are"."""
    counted = ("the two ", "the three ", "the four ", "the five ", "the six ")
    return (
        phrase.startswith(("all ", "both ", *counted)) or " and the " in phrase or phrase.split(" ")[-1] in PLURAL_NOUNS
    )


def definite(noun: str) -> str:
    """The noun with its article; proper names have none."""
    return noun if noun in PROPER else f"the {noun}"


def plural(noun: str) -> str:
    """The plural of a noun phrase, its head taken to be the last word or the one before "of" or "with"."""
    if noun in PLURAL_NOUNS:
        return noun
    for link in (" of ", " with ", " in "):
        if link in noun:
            head, rest = noun.split(link, 1)
            return plural(head) + link + rest
    *before, head = noun.split(" ")
    return " ".join([*before, _plural_word(head)])


def _plural_word(word: str) -> str:
    if word in SAME:
        return word
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word.endswith(("s", "x", "ch", "sh")) or word in ("tomato", "potato", "mango"):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def framed(np: str, voice: Voice, rng: random.Random) -> str:
    """A request for a noun phrase, as someone might type it: with or without an article, a capital, a full stop."""
    fitting = [f for f in FRAMES[voice] if np in PROPER or np.startswith(("the ", "all ", "both ")) or "{be}" not in f]
    frame = rng.choice(fitting)
    text = frame.format(np=np, be="are" if is_plural(np) else "is")
    if frame == "{np}" and np.startswith("the ") and rng.random() < 0.4:
        text = np.removeprefix("the ")
    return typed(text, rng)


def typed(text: str, rng: random.Random) -> str:
    """Half of all people start with a capital; some of those end with a full stop."""
    if rng.random() < 0.5:
        text = text[0].upper() + text[1:]
        if rng.random() < 0.3 and text[-1] not in ".?!":
            text += "."
    return text
