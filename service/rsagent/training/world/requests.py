"""Requests about a scene, each true of exactly its targets."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from rsagent.training.world import further, phrasing
from rsagent.training.world.asking import ALL_KINDS, FURTHER, KINDS, Asker, Kind, Request
from rsagent.training.world.layout import EXTREMES, SIDES, beside, extreme
from rsagent.training.world.names import clashes
from rsagent.training.world.phrasing import Voice, definite, plural
from rsagent.training.world.scene import Scene, World

__all__ = ["ALL_KINDS", "FURTHER", "KINDS", "Kind", "Request", "requests"]


def requests(
    scene: Scene,
    world: World,
    seed: int,
    kinds: tuple[Kind, ...] = KINDS,
    each: int = 2,
    voice: Voice | None = None,
) -> tuple[Request, ...]:
    """Up to `each` requests of every kind the scene allows, the same for the same arguments.

    `voice` selects phrasings and sentences for training or the held-out ones; by default the
    training ones for scenes of the training split, the held-out ones for others. The other voices have
    phrasings of their own and the sentences of training.
    """
    asker = _Asker(scene, world, voice or ("train" if world.split == "train" else "heldout"), random.Random(seed))
    made = (request for kind in kinds for request in asker.ask(kind, each))
    return tuple(dict.fromkeys(made))


class _Asker(Asker):
    """Makes the requests of each kind."""

    def ask(self, kind: Kind, count: int) -> Iterator[Request]:
        makers: dict[Kind, Callable[[], Iterator[Request]]] = {
            "name": self.names,
            "attribute": self.attributes,
            "relation": self.relations,
            "reasoning": self.reasonings,
            "several": self.severals,
            "absent": self.absents,
        }
        makers |= {kind: partial(make, self) for kind, make in further.MAKERS.items()}
        found = list(makers[kind]())
        yield from self.rng.sample(found, min(count, len(found)))

    def names(self) -> Iterator[Request]:
        for i in self.single:
            yield Request(self.say(self.the(i)), "name", (i,), self.objects[i].name)

    def attributes(self) -> Iterator[Request]:
        for name in (name for name, times in self.times.items() if times > 1):
            group = self.group(name)
            for which in EXTREMES:
                target = extreme(self.objects, group, which)
                if target is not None:
                    wording = self.rng.choice(phrasing.EXTREME_PHRASES[which][self.voice])
                    np = wording.format(n=self.noun(self.entry(target)))
                    yield Request(self.say(np), "attribute", (target,), name)
            yield from self.colours(group)

    def colours(self, group: list[int]) -> Iterator[Request]:
        shown = Counter(self.world.colour(self.objects[i].stamp) for i in group)
        for i in group:
            colour = self.world.colour(self.objects[i].stamp)
            if colour and "" not in shown and shown[colour] == 1:
                np = f"the {colour} {self.entry(i).name}"
                yield Request(self.say(np), "attribute", (i,), self.objects[i].name)

    def relations(self) -> Iterator[Request]:
        for anchor in self.single:
            for side in SIDES:
                for np, group in self.relatives(anchor):
                    target = beside(self.objects, group, anchor, side)
                    if target is not None:
                        wording = self.rng.choice(phrasing.SIDE_PHRASES[side][self.voice])
                        text = self.say(wording.format(np=np, anchor=self.the(anchor)))
                        yield Request(text, "relation", (target,), self.objects[target].name, anchor)

    def relatives(self, anchor: int) -> Iterator[tuple[str, list[int]]]:
        """Noun phrases for what may stand in a relation to the anchor, and all objects each could mean."""
        everything = list(range(len(self.objects)))
        yield self.rng.choice(phrasing.THINGS[self.voice]), everything
        for name, times in self.times.items():
            if times > 1 or (name != self.objects[anchor].name and self.rng.random() < 0.25):
                group = self.group(name)
                yield self.the(group[0]), group

    def reasonings(self) -> Iterator[Request]:
        for i in self.single:
            name = self.objects[i].name
            for fact in self.known(name):
                if fact.voice == self.told_in and not fact.also & self.seen:
                    yield Request(self.told(fact.text), "reasoning", (i,), name)
        for np, group in self.categories():
            if len(group) == 1:
                name = self.objects[group[0]].name
                yield Request(self.say(f"the {np}"), "reasoning", (group[0],), name)

    def severals(self) -> Iterator[Request]:
        for name, times in self.times.items():
            if times > 1:
                yield self.all_of(self.group(name), self.noun(self.entry(self.group(name)[0])))
        for word, group in self.categories():
            if len(group) > 1:
                yield self.all_of(group, word)
        for a, b in zip(self.single, self.single[1:], strict=False):
            wording = self.rng.choice(phrasing.PAIR_PHRASES[self.voice])
            a, b = self.rng.sample((a, b), 2)
            text = self.say(wording.format(a=self.the(a), b=self.the(b)))
            yield Request(text, "several", tuple(sorted((a, b))), f"{self.objects[a].name} and {self.objects[b].name}")

    def all_of(self, group: list[int], noun: str) -> Request:
        wording = self.rng.choice(phrasing.ALL_PHRASES[self.voice])
        if noun in phrasing.PLURAL_NOUNS:
            wording = "all the {ns}"
        text = self.say(wording.format(n=noun, ns=plural(noun)))
        return Request(text, "several", tuple(group), plural(noun))

    def absents(self) -> Iterator[Request]:
        """Things that are neither on the scene nor in its ground, nor like anything that is."""
        shown = {placed.name_id for placed in self.objects} | self.ground
        for name in self.rng.sample(range(len(self.world.names)), min(6, len(self.world.names))):
            if name in shown or clashes()[name] & shown:
                continue
            entry = self.world.entries[name]
            known = [f for f in self.known(entry.name) if f.voice == self.told_in]
            known = [f for f in known if not f.true_of & self.seen]
            if known and self.rng.random() < 0.5:
                yield Request(self.told(self.rng.choice(known).text), "absent", (), entry.name)
            else:
                yield Request(self.say(definite(self.noun(entry))), "absent", (), entry.name)
