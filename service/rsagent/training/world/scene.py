"""Scenes: what is on a collage, composed from a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from rsagent.training.world import paste
from rsagent.training.world.combinations import Combinations, admits, partners
from rsagent.training.world.names import clashes, entries, read_table
from rsagent.training.world.stock import Pixels, grounds, load

if TYPE_CHECKING:
    from rsagent.training.world.knowledge import Lore

Split = Literal["train", "val", "test"]
SPOTS = 8
SHRINKS = (1.0, 0.75, 0.55, 0.4)
MAX_ENLARGEMENT = 3.0
MIN_AREA = 0.0015  # of the scene: thin things (a key, a spade) are drawn larger rather than lost


@dataclass(frozen=True)
class Recipe:
    """What scenes are like.

    `side` is an object's longer side as a fraction of the scene's shorter one, drawn log-uniformly;
    `overlap` the most of an earlier object's pixels that later ones may cover; `repeat` the
    probability that a scene holds a second instance of one of its names, or up to `times` of them; `touch`
    the probability that an object is pushed against an earlier one; `combinations` which pairs of names
    may meet (see `world.combinations`); `strange` the probability of a ground that no photograph shows. The defaults of
    the last four leave a seed's scene as it was without them.
    """

    size: tuple[int, int] = (224, 224)
    count: tuple[int, int] = (1, 7)
    side: tuple[float, float] = (0.16, 0.5)
    overlap: float = 0.1
    repeat: float = 0.25
    times: int = 2
    touch: float = 0.0
    combinations: Combinations = "any"
    strange: float = 0.0


@dataclass(frozen=True)
class Placed:
    """One object: `mask` bool [H, W] of its visible pixels; `box` xyxy, px, tight around them, end exclusive."""

    name: str
    name_id: int
    stamp: int
    mask: NDArray[np.bool_]
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Scene:
    """A picture, uint8 RGB [H, W, 3], and its objects in paint order; masks are disjoint."""

    image: Pixels
    objects: tuple[Placed, ...]
    seed: int


@dataclass
class _Sheet:
    """A scene while it is painted: colours 0..1, the owner of each pixel (0 none), pixels first painted."""

    canvas: paste.Patch
    owner: NDArray[np.uint8]
    painted: list[int]

    def covers_little(self, solid: NDArray[np.bool_], top: int, left: int, limit: float) -> bool:
        """Whether every earlier object would still show all but `limit` of what was painted of it."""
        region = self.owner[top : top + solid.shape[0], left : left + solid.shape[1]]
        hit = np.bincount(region[solid], minlength=1)
        if not hit[1:].any():
            return True
        seen = np.bincount(self.owner.ravel(), minlength=len(self.painted) + 1)
        seen[: len(hit)] -= hit
        return all(seen[i + 1] >= (1 - limit) * n for i, n in enumerate(self.painted))

    def meeting(self, solid: NDArray[np.bool_], angle: float) -> tuple[int, int] | None:
        """Top and left of `solid` where, moved towards the middle of the object painted last, it first meets it;
        None where that is outside the picture."""
        rows, columns = np.nonzero(self.owner == len(self.painted))
        if not len(rows):
            return None
        middle = np.array([rows.mean(), columns.mean()]) - np.array(solid.shape) / 2
        way = np.array([np.sin(angle), np.cos(angle)])
        far = int(np.hypot(*solid.shape) + np.hypot(np.ptp(rows), np.ptp(columns))) // 2 + 2
        for distance in range(far, 0, -1):
            top, left = (middle + way * distance).round().astype(int).tolist()
            if top < 0 or left < 0 or top + solid.shape[0] > self.owner.shape[0]:
                continue
            region = self.owner[top : top + solid.shape[0], left : left + solid.shape[1]]
            if region.shape == solid.shape and (region[solid] == len(self.painted)).any():
                return top, left
        return None


def _draw_side(recipe: Recipe, rng: np.random.Generator) -> float:
    low, high = np.log(recipe.side)
    return float(np.exp(rng.uniform(low, high))) * min(recipe.size)


def _fill(cutout: Pixels) -> float:
    """Solid pixels as a fraction of the square of the longer side."""
    return float(np.count_nonzero(cutout[..., 3] >= 128) / max(cutout.shape[:2]) ** 2)


class World:
    """All scenes of a split.

    `names` takes the first so many names of the table (all by default); `lore` says which sentences are known of them,
    by default those of training for its split, and those of evaluations for the others. Raises MaterialMissing when
    the Debian packages are absent, ValueError when the split is unknown.
    """

    def __init__(
        self, split: Split, cache: Path | None = None, names: int | None = None, lore: Lore | None = None
    ) -> None:
        pictures = [ground for ground in grounds() if ground.split == split]
        if not pictures:
            raise ValueError(f"no split {split!r}: choose train, val or test")
        stock = load(cache)
        self.split: Split = split
        self.lore: Lore = lore or ("told" if split == "train" else "asked")
        self.entries = entries()[:names]
        self.names = tuple(entry.name for entry in self.entries)
        self._grounds = tuple((stock.grounds[g.path], self._barred(g.shows)) for g in pictures)
        self._empty = tuple(levels for levels, barred in self._grounds if not barred)
        self._stamps = tuple(stamp for entry in entries() for stamp in entry.stamps)
        self._cutouts = tuple(stock.cutouts[stamp] for stamp in self._stamps)
        self._legible = {stamp for entry in entries() if "road sign" in entry.kinds for stamp in entry.stamps}
        self._colours = {row[0]: row[1] for row in read_table("colours.tsv")}
        self._fill = tuple(_fill(levels[-1]) for levels in self._cutouts)
        ids = {stamp: number for number, stamp in enumerate(self._stamps)}
        self._shown = tuple(tuple(ids[stamp] for stamp in entry.stamps) for entry in self.entries)

    def scene(self, seed: int, recipe: Recipe | None = None) -> Scene:
        """The scene of a seed; the same for the same split, seed, recipe and names."""
        recipe = recipe or Recipe()
        rng = self._dice(seed)
        picture, barred = self._grounds[int(rng.integers(len(self._grounds)))]
        return self._made(seed, picture, self._cast(recipe, barred, rng), recipe, rng)

    def compose(self, seed: int, cast: Sequence[str], recipe: Recipe) -> Scene:
        """A scene of chosen names, in paint order, on the ground of the seed. Raises ValueError for an unknown name."""
        rng = self._dice(seed)
        picture, _ = self._grounds[int(rng.integers(len(self._grounds)))]
        unknown = [name for name in cast if name not in self.names]
        if unknown:
            raise ValueError(f"no such names in this world: {', '.join(unknown)}")
        return self._made(seed, picture, [self.names.index(name) for name in cast], recipe, rng)

    def _made(
        self, seed: int, picture: tuple[Pixels, ...], cast: list[int], recipe: Recipe, rng: np.random.Generator
    ) -> Scene:
        backdrop = paste.ground(picture, recipe.size, rng)
        if recipe.strange and rng.random() < recipe.strange:
            other = self._empty[int(rng.integers(len(self._empty)))]
            backdrop = paste.strange(backdrop, paste.ground(other, recipe.size, rng), rng)
        sheet = _Sheet(backdrop.astype(np.float32) * np.float32(1 / 255), np.zeros(recipe.size, np.uint8), [])
        placed = []
        for name in cast:
            stamp = self._shown[name][int(rng.integers(len(self._shown[name])))]
            if self._place(sheet, stamp, recipe, rng):
                placed.append((name, stamp))
        image = np.rint(sheet.canvas * 255).clip(0, 255).astype(np.uint8)
        found = (self._placed(sheet.owner == i + 1, *ids) for i, ids in enumerate(placed))
        return Scene(image, tuple(found), seed)

    def colour(self, stamp: int) -> str:
        """The colour word of a stamp, for names whose stamps differ in colour; "" for all others."""
        return self._colours.get(self._stamps[stamp], "")

    def colours(self, name: int) -> frozenset[str]:
        """The colour words of all stamps of a name; without "" only if every one has a word."""
        return frozenset(self.colour(stamp) for stamp in self._shown[name]) - {""}

    def in_the_ground(self, seed: int) -> frozenset[int]:
        """Ids of the names that the photograph under the scene of this seed shows, or may be taken to show."""
        return self._grounds[int(self._dice(seed).integers(len(self._grounds)))][1]

    def _dice(self, seed: int) -> np.random.Generator:
        digest = hashlib.sha256(f"{self.split}:{seed}".encode()).digest()
        return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16])))

    def _barred(self, shows: tuple[str, ...]) -> frozenset[int]:
        """Ids of the names a picture already shows, and of those that could be taken for them."""
        ids = [number for number, entry in enumerate(entries()) if entry.name in shows]
        return frozenset(ids).union(*(clashes()[number] for number in ids))

    def _cast(self, recipe: Recipe, barred: frozenset[int], rng: np.random.Generator) -> list[int]:
        """Name ids for a scene: no two that could be taken for each other, one of them perhaps several times."""
        count = int(rng.integers(recipe.count[0], recipe.count[1] + 1))
        twice = count > 1 and rng.random() < recipe.repeat
        order = rng.permutation(len(self.names)).tolist()
        if recipe.combinations == "novel":
            order = self._meeting(order, barred)
        cast: list[int] = []
        for name in order[: 4 * count]:
            if len(cast) < count - twice and name not in barred and self._may_join(name, cast, recipe):
                cast.append(name)
        if twice and cast:
            cast.insert(int(rng.integers(len(cast) + 1)), cast[int(rng.integers(len(cast)))])
        if twice and recipe.times > 2:
            again = max(cast, key=cast.count)
            cast += [again] * int(rng.integers(recipe.times - 1))
        return cast

    def _may_join(self, name: int, cast: list[int], recipe: Recipe) -> bool:
        if clashes()[name] & set(cast):
            return False
        return admits(recipe.combinations, self.names[name], [self.names[other] for other in cast])

    def _meeting(self, order: list[int], barred: frozenset[int]) -> list[int]:
        """The order with two names first that never meet in training."""
        first = next(name for name in order if name not in barred)
        apart = partners(self.names[first])
        for name in order:
            if self.names[name] in apart and name not in barred | clashes()[first]:
                return [first, name, *(other for other in order if other not in (first, name))]
        return order

    def _place(self, sheet: _Sheet, stamp: int, recipe: Recipe, rng: np.random.Generator) -> bool:
        """Paint a stamp where it covers little of the others, smaller when it does not fit."""
        short = min(recipe.size)
        levels = self._cutouts[stamp]
        side = min(_draw_side(recipe, rng), MAX_ENLARGEMENT * max(levels[0].shape[:2]))
        side = max(side, np.sqrt(MIN_AREA * recipe.size[0] * recipe.size[1] / self._fill[stamp]))
        look = paste.draw_look(rng)
        if self._stamps[stamp] in self._legible:
            look = replace(look, mirror=False)
        for shrink in SHRINKS:
            if side * shrink < recipe.side[0] * short and shrink < 1:
                return False
            piece = paste.patch(levels, side * shrink, look)
            room = (recipe.size[0] - piece.shape[0], recipe.size[1] - piece.shape[1])
            pushed = recipe.touch and sheet.painted and rng.random() < recipe.touch
            if pushed and self._against(sheet, piece, recipe.overlap, rng):
                return True
            if min(room) >= 0 and self._spot(sheet, piece, room, recipe.overlap, rng):
                return True
        return False

    def _spot(
        self, sheet: _Sheet, piece: paste.Patch, room: tuple[int, int], limit: float, rng: np.random.Generator
    ) -> bool:
        solid = piece[..., 3] >= 0.5
        for _ in range(SPOTS):
            top, left = int(rng.integers(room[0] + 1)), int(rng.integers(room[1] + 1))
            if solid.any() and sheet.covers_little(solid, top, left, limit):
                self._paint(sheet, piece, solid, (top, left), rng)
                return True
        return False

    def _against(self, sheet: _Sheet, piece: paste.Patch, limit: float, rng: np.random.Generator) -> bool:
        """Paint a piece where it just meets the object painted last, coming from a random side."""
        solid = piece[..., 3] >= 0.5
        for _ in range(SPOTS if solid.any() else 0):
            at = sheet.meeting(solid, float(rng.uniform(0, 2 * np.pi)))
            if at is not None and sheet.covers_little(solid, *at, limit):
                self._paint(sheet, piece, solid, at, rng)
                return True
        return False

    def _paint(
        self,
        sheet: _Sheet,
        piece: paste.Patch,
        solid: NDArray[np.bool_],
        at: tuple[int, int],
        rng: np.random.Generator,
    ) -> None:
        if rng.random() < 0.3:
            reach = max(piece.shape[:2]) * 0.05
            shift = (int(rng.uniform(0, 2) * reach), int(rng.uniform(-1, 1) * reach))
            paste.shade(sheet.canvas, piece, *at, shift, rng.uniform(0.2, 0.5))
        paste.lay(sheet.canvas, piece, *at)
        region = sheet.owner[at[0] : at[0] + solid.shape[0], at[1] : at[1] + solid.shape[1]]
        region[solid] = len(sheet.painted) + 1
        sheet.painted.append(int(solid.sum()))

    def _placed(self, mask: NDArray[np.bool_], name: int, stamp: int) -> Placed:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        return Placed(self.names[name], name, stamp, mask, box)
