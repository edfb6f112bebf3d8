"""The harder kinds of request: exact numbers, places in a row, categories by place, shared facts, all but one, and
things that are not there though their like is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from rsagent.training.world import phrasing
from rsagent.training.world.asking import Asker, Kind, Request
from rsagent.training.world.aspects import THING, Aspect, aspects, of_all, of_one
from rsagent.training.world.layout import APART, EXTREMES, SIDES, beside, centre, extreme
from rsagent.training.world.phrasing import plural, said

NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
ORDINALS = ("first", "second", "third", "fourth", "fifth")


def counts(asker: Asker) -> Iterator[Request]:
    """The two dogs, all three birds: where the scene has just so many."""
    for noun, subject, group in _groups(asker):
        if len(group) in NUMBERS:
            wordings = said(phrasing.BOTH if len(group) == 2 else phrasing.COUNT_PHRASES, asker.voice)
            text = asker.rng.choice(wordings).format(count=NUMBERS[len(group)], ns=plural(noun))
            yield Request(asker.say(text), "count", tuple(group), subject)


def _groups(asker: Asker) -> Iterator[tuple[str, str, list[int]]]:
    """What there is several of: the word for it, its plain plural, the objects."""
    for name, times in asker.times.items():
        if times > 1 and name not in phrasing.PLURAL_NOUNS:
            group = asker.group(name)
            yield asker.noun(asker.entry(group[0])), plural(name), group
    for word, group in asker.categories():
        if len(group) > 1:
            yield word, plural(word), group


def ordinals(asker: Asker) -> Iterator[Request]:
    """The second dog from the left: where nobody could count otherwise."""
    for noun, _, group in _groups(asker):
        row = _row(asker, group)
        for place, target in enumerate(row):
            for side, number in (("left", place), ("right", len(row) - 1 - place)):
                if 0 < number < len(ORDINALS):
                    wording = asker.rng.choice(said(phrasing.ORDINAL_PHRASES, asker.voice))
                    text = asker.say(wording.format(ordinal=ORDINALS[number], n=noun, side=side))
                    yield Request(text, "ordinal", (target,), asker.objects[target].name)
        if len(row) == 3:
            text = asker.say(asker.rng.choice(said(phrasing.MIDDLE_PHRASES, asker.voice)).format(n=noun))
            yield Request(text, "ordinal", (row[1],), asker.objects[row[1]].name)


def _row(asker: Asker, group: Sequence[int]) -> list[int]:
    """The group from left to right, where all of it is clearly one beside the other; else nothing."""
    row = sorted(group, key=lambda i: centre(asker.objects[i])[0])
    across = [centre(asker.objects[i])[0] for i in row]
    width = asker.scene.image.shape[1]
    clear = all(b - a >= APART * width for a, b in pairwise(across))
    return row if clear else []


def compounds(asker: Asker) -> Iterator[Request]:
    """A category by its place or size, or by what it is beside."""
    for word, group in asker.categories():
        for which in EXTREMES if len(group) > 1 else ():
            target = extreme(asker.objects, group, which)
            if target is not None:
                np = asker.rng.choice(phrasing.EXTREME_PHRASES[which][asker.voice]).format(n=word)
                yield Request(asker.say(np), "compound", (target,), asker.objects[target].name)
        for anchor in asker.single if len(group) > 1 else ():
            yield from _beside(asker, word, group, anchor)


def _beside(asker: Asker, word: str, group: list[int], anchor: int) -> Iterator[Request]:
    for side in SIDES:
        target = beside(asker.objects, group, anchor, side)
        if target is not None:
            wording = asker.rng.choice(phrasing.SIDE_PHRASES[side][asker.voice])
            text = asker.say(wording.format(np=f"the {word}", anchor=asker.the(anchor)))
            yield Request(text, "compound", (target,), asker.objects[target].name, anchor)


def known(asker: Asker) -> Iterator[tuple[Aspect, list[int]]]:
    """Each fact of the asker's voice of which nobody would doubt here what it is true of, and the objects."""
    placed = frozenset(asker.times)
    for fact in aspects():
        if fact.voice == asker.told_in and not fact.arguable & asker.seen and not fact.true_of & (asker.seen - placed):
            yield fact, [i for i, one in enumerate(asker.objects) if one.name in fact.true_of]


def knowledge(asker: Asker) -> Iterator[Request]:
    """A fact that is true of one object alone."""
    for fact, group in known(asker):
        if len(group) == 1:
            text = asker.told(of_one(fact, asker.rng.choice(fact.sayings), asker.rng.randrange(60)))
            yield Request(text, "knowledge", (group[0],), asker.objects[group[0]].name)


def shared(asker: Asker) -> Iterator[Request]:
    """A fact that is true of several objects."""
    for fact, group in known(asker):
        if len(group) > 1:
            text = asker.say(of_all(fact, asker.rng.choice(fact.sayings), asker.rng.randrange(60)))
            names = dict.fromkeys(asker.objects[i].name for i in group)
            yield Request(text, "shared", tuple(group), " and ".join(names))


def excepts(asker: Asker) -> Iterator[Request]:
    """All of a category but one."""
    for word, group in asker.categories():
        for left_out in (i for i in group if i in asker.single):
            rest = tuple(i for i in group if i != left_out)
            if rest:
                table = phrasing.EXCEPT_ONE if len(rest) == 1 else phrasing.EXCEPT_PHRASES
                wording = asker.rng.choice(said(table, asker.voice))
                text = asker.say(wording.format(n=word, ns=plural(word), np=asker.the(left_out)))
                names = dict.fromkeys(asker.objects[i].name for i in rest)
                yield Request(text, "except", rest, " and ".join(names))


def denied(asker: Asker) -> Iterator[Request]:
    """What is not there though its like is: another colour, one more than there are, an animal of another kind."""
    for name, times in asker.times.items():
        group = asker.group(name)
        colours = {asker.world.colour(asker.objects[i].stamp) for i in group}
        for colour in (
            sorted(asker.world.colours(asker.objects[group[0]].name_id) - colours) if "" not in colours else ()
        ):
            yield Request(asker.say(f"the {colour} {name}"), "denied", (), f"{colour} {name}")
        if 1 < times < len(ORDINALS) and _row(asker, group):
            wording = asker.rng.choice(said(phrasing.ORDINAL_PHRASES, asker.voice))
            text = wording.format(ordinal=ORDINALS[times], n=name, side=asker.rng.choice(("left", "right")))
            yield Request(asker.say(text), "denied", (), f"{ORDINALS[times]} {name}")
    words = {word for word, group in asker.categories() if group}
    for fact, group in known(asker):
        if not group and fact.noun != THING and fact.noun in words:
            saying = asker.rng.choice(fact.sayings)
            yield Request(asker.told(of_one(fact, saying, 0)), "denied", (), f"{fact.noun} that {saying}")


MAKERS: dict[Kind, Callable[[Asker], Iterator[Request]]] = {
    "count": counts, "ordinal": ordinals, "compound": compounds, "knowledge": knowledge,
    "shared": shared, "except": excepts, "denied": denied,
}  # fmt: skip
