"""Other ways to say a request, so that the policy knows more words than the world's training phrasings use, and learns
to pass over words that it does not know.

None of these is one of the world's held-out phrasings: single words of them occur here ("beneath", "locate"), in
other constructions; a frame put together by chance that happens to be held out is put together anew. What is held out
stays whole sentences, on purpose: a model that starts from nothing cannot know a word that it has never seen.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from rsagent.training.world.phrasing import FRAMES, PROPER

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
STARTS = (
    *("please", "kindly", "now", "just", "quickly", "hey,", "ok,", "then", "next,", "can you", "could you"),
    *("would you", "will you", "I need you to", "I would like you to", "help me", "let us", "try to", "you should"),
    "go and",
)  # fmt: skip
VERBS = (
    *("trace", "paint", "colour", "detect", "isolate", "extract", "spot", "locate", "circle", "shade", "crop", "grab"),
    *("get", "choose", "identify", "reveal", "indicate", "label", "recognise", "catch", "fetch", "outline", "lift out"),
    *("look for", "search for", "draw around", "focus on", "get a mask for", "give the shape of"),
    *("tell me where to see", "make a cut-out of", "return", "show the pixels of", "discover", "determine"),
    *("track down", "pull out"),
)  # fmt: skip
TAILS = (
    *("for me", "please", "here", "in the picture", "in this photo", "in the image", "now", "exactly", "on its own"),
    *("from the background", "with a mask", "if you can", "and nothing else", "as a mask", "carefully", "for us"),
    *("as well as you can", "on this photograph", "in this scene", "somewhere", "at once", "thanks", "today", "again"),
)  # fmt: skip
SYLLABLES = ("ba", "do", "fen", "gri", "hol", "ka", "lum", "mo", "ner", "pli", "qua", "rit", "sto", "tre", "vin", "zor")
MARKS = re.compile(r"[.?!,]")
HELD_OUT = frozenset(MARKS.sub("", one.lower()) for one in FRAMES["heldout"])
BARE = re.compile(r"^(?:the|all|both|every) ", re.IGNORECASE)


def _escaped(frame: str) -> str:
    """A frame as a pattern whose places in braces are still to be filled."""
    return re.escape(frame).replace(r"\{", "{").replace(r"\}", "}")


TRAINED = tuple(
    re.compile(f"^{_escaped(one).format(np='(?P<np>.+?)', be='(?:is|are)')}[.?]?$", re.IGNORECASE)
    for one in sorted(set(FRAMES["train"]) - {"{np}"}, key=len, reverse=True)
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


def paraphrase(text: str, kind: str, rng: random.Random, fillers: Sequence[str] = ()) -> str:
    """`text` said otherwise, or as it is where nothing here fits it; `fillers`: words to be passed over."""
    if kind == "relation":
        text = _related(text, rng)
    elif kind in ("attribute", "several"):
        text = _described(text, kind, rng)
    np = meant(text)
    if np is not None and rng.random() < 0.75:
        text = frame(rng, fillers).format(np=np)
    return text[0].upper() + text[1:] if rng.random() < 0.3 else text


def meant(text: str) -> str | None:
    """The noun phrase that one of the training frames was put around; None for a sentence of its own."""
    found = next((match for pattern in TRAINED if (match := pattern.match(text))), None)
    if found:
        return found["np"]
    if BARE.match(text):
        return text[0].lower() + text[1:].rstrip(".")
    return text if text in PROPER else None


def frame(rng: random.Random, fillers: Sequence[str] = ()) -> str:
    """A sentence around `{np}`: one of a few whole ones, or one put together, in half of all cases with words in it
    that mean nothing."""
    if rng.random() < 0.2:
        return rng.choice(OPENERS)
    made = _put_together(rng, fillers)
    while MARKS.sub("", made.lower()) in HELD_OUT:
        made = _put_together(rng, fillers)
    return made


def _put_together(rng: random.Random, fillers: Sequence[str]) -> str:
    parts = [rng.choice(STARTS)] if rng.random() < 0.5 else []
    parts.append(rng.choice(VERBS))
    end = rng.choice(TAILS) if rng.random() < 0.5 else ""
    words, after = " ".join(parts).split(), end.split()
    if rng.random() < 0.5:
        words, after = _muddled(words, rng, fillers), _muddled(after, rng, fillers)
    link = ", " if after and rng.random() < 0.2 else " "
    said = f"{' '.join([*words, '{np}'])}{link if after else ''}{' '.join(after)}"
    return said + rng.choice(("", "", "", ".", "?", "!"))


def _muddled(words: list[str], rng: random.Random, fillers: Sequence[str]) -> list[str]:
    """Some words replaced by others without meaning, and here and there one more."""
    found = []
    for word in words:
        found.append(_word(rng, fillers) if rng.random() < 0.4 else word)
        if rng.random() < 0.15:
            found.append(_word(rng, fillers))
    return found


def _word(rng: random.Random, fillers: Sequence[str]) -> str:
    if fillers and rng.random() < 0.75:
        return rng.choice(fillers)
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 3)))


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
