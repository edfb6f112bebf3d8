"""`python -m rsagent.training.world bench | sheet | examples`: how fast scenes are, how they look, pictures to try."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, TypeVar

import cv2
import typer

from rsagent.cli.app import main as told
from rsagent.training.world import Recipe, World, album
from rsagent.training.world.combinations import Combinations
from rsagent.training.world.requests import ALL_KINDS
from rsagent.training.world.scene import Split
from rsagent.training.world.sheet import contact, example
from rsagent.training.world.situations import SITUATIONS

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)
T = TypeVar("T", bound=str)
APART = 5
"""Seeds between the tiles of a sheet, so that they show different scenes."""
Size = Annotated[tuple[int, int], typer.Option(help="height and width, px")]


@app.command()
def bench(count: int = 500, size: Size = (224, 224), split: Split = "train") -> None:
    """Print scenes a second, on one thread."""
    cv2.setNumThreads(1)
    world, recipe = World(split), Recipe(size=size)
    start, cpu = time.perf_counter(), time.process_time()
    placed = sum(len(world.scene(seed, recipe).objects) for seed in range(count))
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    typer.echo(
        f"{count / wall:.0f} scenes/s wall, {count / cpu:.0f} scenes/s of CPU, {placed / count:.2f} objects each"
    )


@app.command()
def sheet(
    out: Annotated[Path, typer.Option("-o", "--out")] = Path("sheet.png"),
    split: Split = "train",
    size: Size = (336, 336),
    kinds: Annotated[str, typer.Option(help="Kinds of request, separated by commas.")] = ",".join(ALL_KINDS),
    situations: Annotated[str, typer.Option(help="Kinds of scene, separated by commas.")] = ",".join(SITUATIONS),
    pairs: Annotated[Combinations, typer.Option(help="Which names may meet.")] = "any",
    first: Annotated[int, typer.Option(help="Seed to begin with.")] = 0,
    columns: int = 7,
) -> None:
    """Write a contact sheet: for each kind of scene one request of each kind, its targets in green, the rest outlined.

    What a scene was made for is what is asked: small targets, touching ones.
    """
    world = World(split)
    wanted = [(s, k) for s in _chosen(situations, SITUATIONS) for k in _chosen(kinds, ALL_KINDS)]
    starts = range(first, first + APART * len(wanted), APART)
    found = (example(world, *one, size, pairs, start) for one, start in zip(wanted, starts, strict=True))
    tiles = [shown for shown in found if shown is not None]
    cv2.imwrite(str(out), cv2.cvtColor(contact(tiles, columns), cv2.COLOR_RGB2BGR))


def _chosen(words: str, known: tuple[T, ...]) -> list[T]:
    """The known ones among words separated by commas."""
    found = [one for one in known if one in {word.strip() for word in words.split(",")}]
    if not found or len(found) < len({word for word in words.split(",") if word.strip()}):
        raise typer.BadParameter(f"choose some of {', '.join(map(str, known))}, separated by commas")
    return found


@app.command()
def examples(out: Annotated[Path, typer.Option("-o", "--out", exists=True, file_okay=False)]) -> None:
    """Write the example pictures of the package, their sentences and credits into a folder."""
    album.make(out)


if __name__ == "__main__":
    told(app)
