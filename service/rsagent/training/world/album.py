"""The example pictures of the package: collages from the test split, with sentences and credits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2

from rsagent.training.world.scene import Recipe, Scene, World

RECIPE = Recipe(size=(480, 640), side=(0.24, 0.42), overlap=0.0)
QUALITY = 90


@dataclass(frozen=True)
class Page:
    """One picture: a title, the seed that sets its ground and its places, what is on it, what to ask, whose ground."""

    name: str
    seed: int
    cast: tuple[str, ...]
    sentences: tuple[str, ...]
    credit: str


MEADOW = "GreenMeadow, Timothy Schellhase and Lapo Calamandrei, GPL-2+ (mate-backgrounds)"
BOATS = "EveningGlow, Ian Hex, GPL-2+ (plasma-workspace-wallpapers)"
FOREST = "Path, Risto Saukonpää, GPL-2+ (plasma-workspace-wallpapers)"
LEAVES = "FallenLeaf, Martin Klapetek, GPL-2+ (plasma-workspace-wallpapers)"
CUPS = "ColorfulCups, Dmitri Popov, GPL-2+ (plasma-workspace-wallpapers)"
LAKE = "summer_1am, Risto Saukonpää, GPL-2+ (plasma-workspace-wallpapers)"

PAGES = (
    Page(
        "In the meadow",
        18,
        ("rabbit", "carrot", "soccer ball", "dog", "butterfly"),
        ("the animal that barks", "the soccer ball"),
        MEADOW,
    ),
    Page(
        "Safari at the lake",
        88,
        ("elephant", "zebra", "giraffe", "lion", "hot air balloon"),
        ("the hot air balloon",),
        BOATS,
    ),
    Page(
        "In the woods",
        39,
        ("owl", "fox", "mushroom", "mushroom", "squirrel"),
        ("the bird that hunts at night", "the squirrel and the fox"),
        FOREST,
    ),
    Page(
        "Autumn picnic",
        31,
        ("teapot", "mug", "cake", "camera", "binoculars"),
        ("what you drink coffee from", "the cake below the teapot"),
        LEAVES,
    ),
    Page(
        "The band",
        97,
        ("guitar", "violin", "trumpet", "drum", "penguin"),
        ("the instrument that is held under the chin", "the violin and the guitar"),
        CUPS,
    ),
    Page(
        "Winter at midsummer",
        41,
        ("penguin", "penguin", "snowman", "santa claus", "teddy bear"),
        ("the penguin on the left", "what melts when spring comes"),
        LAKE,
    ),
    Page(
        "Lost tools",
        11,
        ("hammer", "scissors", "wrench", "paintbrush", "toolbox", "saw"),
        ("the paintbrush", "the toolbox"),
        MEADOW,
    ),
    Page(
        "Rush hour",
        5,
        ("airplane", "helicopter", "hot air balloon", "fire truck", "bus", "car"),
        ("what flies with a rotor and can hover", "the banana"),
        LAKE,
    ),
)

CREDITS = """# Credits

The pictures here are collages and are licensed under the GNU General Public License, version 2, as
the material they are made of: the cut-outs are stamps of Tux Paint, © 2002–2022 Bill Kendrick and
contributors, GPL-2 (Debian package tuxpaint-stamps-default); the photographs under them are listed
below. Their source is the packages named here and `python -m rsagent.training.world examples`, which
makes them again. The licence of the code around them is not affected.

| picture | ground |
|---|---|
"""


def scene(page: Page, world: World) -> Scene:
    """The collage of a page; `world` is the test split with all names."""
    return world.compose(page.seed, page.cast, RECIPE)


def make(folder: Path) -> None:
    """Write the pictures (JPEG, under 150 kB each), `examples.json` and `CREDITS.md` into a folder."""
    world = World("test")
    listed, rows = [], []
    for number, page in enumerate(PAGES, 1):
        file = f"{number:02d}.jpg"
        picture = cv2.cvtColor(scene(page, world).image, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / file), picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        listed.append({"name": page.name, "file": file, "sentences": page.sentences})
        rows.append(f"| {file} | {page.credit} |\n")
    (folder / "examples.json").write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
    (folder / "CREDITS.md").write_text(CREDITS + "".join(rows), encoding="utf-8")
