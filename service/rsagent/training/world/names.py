"""The names the world knows: a curated table of stamps, and which names may not share a scene."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Entry:
    """One name: its synonyms, the broader kinds it belongs to, and the stamps that show it."""

    name: str
    aliases: tuple[str, ...]
    kinds: tuple[str, ...]
    stamps: tuple[str, ...]

    @property
    def phrases(self) -> tuple[str, ...]:
        """Every way to name the thing, the plain name first."""
        return (self.name, *self.aliases)


def read_table(name: str) -> tuple[tuple[str, ...], ...]:
    """Rows of a tab-separated table of this package, without comments and blank lines."""
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return tuple(tuple(line.split("\t")) for line in lines)


def listed(cell: str) -> tuple[str, ...]:
    """The parts of a cell that are separated by bars."""
    return tuple(part for part in cell.split("|") if part)


@cache
def entries() -> tuple[Entry, ...]:
    """The whole table, the commonest things first."""
    rows = read_table("names.tsv")
    return tuple(Entry(n, listed(a), listed(k), listed(s)) for n, a, k, s in rows)


def words(phrase: str) -> tuple[str, ...]:
    """The words of a phrase, hyphens split, lower case."""
    return tuple(phrase.lower().replace("-", " ").split())


def holds(phrase: str, part: str) -> bool:
    """Whether `part` occurs in `phrase` as whole words in a row."""
    outer, inner = words(phrase), words(part)
    return any(outer[i : i + len(inner)] == inner for i in range(len(outer) - len(inner) + 1))


def confusable(one: Entry, other: Entry) -> bool:
    """Whether a phrase for one could be read as the other ("duck" of a rubber duck, "bird" of an owl)."""
    if one.name in other.kinds or other.name in one.kinds:
        return True
    return any(holds(a, b) or holds(b, a) for a in one.phrases for b in other.phrases)


@cache
def clashes() -> tuple[frozenset[int], ...]:
    """For each entry the ids of the entries that may not share a scene with it."""
    table = entries()
    return tuple(
        frozenset(j for j, other in enumerate(table) if j != i and confusable(one, other))
        for i, one in enumerate(table)
    )
