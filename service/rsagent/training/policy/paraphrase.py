"""Other ways to say a request, so that the policy knows more words than the world's training phrasings use.

None of these is one of the world's held-out phrasings: single words of them occur here ("beneath", "locate"), in
other constructions. What is held out stays whole sentences, on purpose: a model that starts from nothing cannot
know a word that it has never seen.
"""

from __future__ import annotations

import random
import re

OPENERS = (
    "locate where {np} is",
    "please outline {np} for me",
    "pick out {np}",
    "could you locate {np}?",
    "point out {np} to me",
    "give me {np}",
    "I'd like a mask that shows {np}",
    "separate out {np}",
    "only {np}, please",
    "could you show me only {np}",
    "get me {np} from the rest",
    "spot {np}",
)
TRAINED = re.compile(
    r"^(?:find|segment|show me|select|mask|please segment|highlight|cut out|i am looking for|i want) (?P<np>.+?)[.?]?$",
    re.IGNORECASE,
)
SIDES = {
    r"(?:to the )?left of": ("on the left-hand side of", "off to the left side of"),
    r"(?:to the )?right of": ("on the right-hand side of", "off to the right side of"),
    r"above|over": ("higher than", "up above", "somewhere higher up than"),
    r"below|under": ("underneath", "right beneath", "lower than", "somewhere lower down than"),
    r"next to|closest to|near": ("right beside", "nearest", "by the side of", "that is nearest to"),
}
RELATION = tuple((re.compile(rf"\bthe (?:thing|object) (?:{side}) "), words) for side, words in SIDES.items())
WHAT = ("what is {}", "the item {}", "what lies {}", "the thing that sits {}", "an item {}")
SWAPS = (
    (r"\bthe (?:smaller|smallest|small|little) (\w[\w' -]*)$", ("the {} that is tiniest", "the tiny {}")),
    (r"\bthe (?:bigger|larger|biggest|big) (\w[\w' -]*)$", ("the {} that is largest", "the huge {}")),
    (r"\bthe (?:leftmost|left) (\w[\w' -]*)$", ("the {} furthest left", "the {} at the left side")),
    (r"\bthe (?:rightmost|right) (\w[\w' -]*)$", ("the {} furthest right", "the {} at the right side")),
    (r"\bthe (?:topmost|top|upper) (\w[\w' -]*)$", ("the {} higher up", "the {} that is nearest the top")),
    (r"\bthe (?:bottom|lower) (\w[\w' -]*)$", ("the {} that is further down", "the lowest {}")),
    (r"\bevery (\w[\w' -]*)$", ("each single {}", "each and every {}")),
)
ATTRIBUTES = tuple((re.compile(pattern), words) for pattern, words in SWAPS)


def paraphrase(text: str, kind: str, rng: random.Random) -> str:
    """`text` said otherwise, or as it is where nothing here fits it."""
    if kind == "relation":
        text = _related(text, rng)
    elif kind in ("attribute", "several"):
        text = _described(text, kind, rng)
    found = TRAINED.match(text)
    if found and rng.random() < 0.6:
        text = rng.choice(OPENERS).format(np=found["np"])
    return text[0].upper() + text[1:] if rng.random() < 0.3 else text


def _related(text: str, rng: random.Random) -> str:
    for pattern, words in RELATION:
        if pattern.search(text):
            phrase = rng.choice(WHAT).format(rng.choice(words))
            return pattern.sub(f"{phrase} ", text, count=1)
    return text


def _described(text: str, kind: str, rng: random.Random) -> str:
    body = text.rstrip(".?")
    for pattern, words in ATTRIBUTES:
        if found := pattern.search(body):
            return body[: found.start()] + rng.choice(words).format(found[1])
    if kind == "several" and " and the " in body:
        return body.replace(" and the ", rng.choice((" plus the ", " along with the ", " and also the ")), 1)
    return text
