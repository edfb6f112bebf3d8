"""`python -m rsagent.training.world bench | sheet | examples`: how fast scenes are, how they look, pictures to try."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import cv2
import typer

from rsagent.training.world import Recipe, World, album
from rsagent.training.world.requests import KINDS, requests
from rsagent.training.world.scene import Split
from rsagent.training.world.sheet import contact, tile

app = typer.Typer(help=__doc__, no_args_is_help=True)
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
    size: Size = (224, 224),
    count: int = 24,
    first: int = 0,
    columns: int = 6,
) -> None:
    """Write a contact sheet: masks and boxes outlined, one request of each kind with its targets below."""
    world, recipe = World(split), Recipe(size=size)
    tiles = []
    for seed in range(first, first + count):
        scene = world.scene(seed, recipe)
        asked = requests(scene, world, seed, each=1)
        lines = [f"{r.kind}: {r.text} > {','.join(map(str, r.targets)) or '-'}" for r in asked]
        tiles.append(tile(scene, (*lines, *[""] * (len(KINDS) - len(lines)))))
    cv2.imwrite(str(out), cv2.cvtColor(contact(tiles, columns), cv2.COLOR_RGB2BGR))


@app.command()
def examples(out: Annotated[Path, typer.Option("-o", "--out", exists=True, file_okay=False)]) -> None:
    """Write the example pictures of the package, their sentences and credits into a folder."""
    album.make(out)


if __name__ == "__main__":
    app()
