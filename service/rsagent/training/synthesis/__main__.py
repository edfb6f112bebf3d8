"""`python -m rsagent.training.synthesis`: trajectories for SFT, played by a scripted expert with the real segmenter.

    make     from the collage world (needs its Debian packages)
    own      from pictures and masks of one's own: a COCO file, or a ReasonSeg folder
    choose   choose anew from what was played
    view     write the page to look at

The segmenter is that of the settings (RSAGENT_SEGMENTER__…). A run that was stopped goes on when started again.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated, cast, get_args

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from rsagent import settings
from rsagent.agent import dialects
from rsagent.cli.app import main as told
from rsagent.policy.protocol import ViewSpec
from rsagent.training.policy.shape import VIEW
from rsagent.training.synthesis.choosing import PASS, composition
from rsagent.training.synthesis.expert import SMALL, Habits
from rsagent.training.synthesis.finishing import finish
from rsagent.training.synthesis.own import Form, OwnSource
from rsagent.training.synthesis.records import read
from rsagent.training.synthesis.sources import Source, WorldSource
from rsagent.training.synthesis.transcript import ImageKind
from rsagent.training.synthesis.viewer import page, some_of_each
from rsagent.training.synthesis.workshop import Workshop, enough, perform, played, remember, shards_of, workers_of
from rsagent.training.world.combinations import Combinations
from rsagent.training.world.phrasing import Voice
from rsagent.training.world.requests import ALL_KINDS, Kind
from rsagent.training.world.scene import Split
from rsagent.training.world.situations import SITUATIONS, Situation

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)
console = Console(stderr=True)
AHEAD = 1
CORES = min(2, os.cpu_count() or 1)

Out = Annotated[Path, typer.Option("-o", "--out", help="Folder of the trajectories; gone on with if it is there.")]
Count = Annotated[int, typer.Option(help="How many trajectories to choose; a third more are played.")]
DialectName = Annotated[str, typer.Option(help=f"What the policy is to speak: {', '.join(dialects.names())}.")]
MaxPixels = Annotated[int, typer.Option(help="Largest view, in pixels: what the policy will be served with.")]
MinPixels = Annotated[int, typer.Option(help="Smallest view, in pixels.")]
Factor = Annotated[int, typer.Option(help="Views are multiples of it: 32 for nano and Qwen3-VL, 28 for Qwen2.5-VL.")]
Images = Annotated[str, typer.Option(help="'jpeg' (quality 95) or 'png' (what serving sends of small views).")]
Clicks = Annotated[int, typer.Option(help="Most clicks that correct a mask.")]
ZoomBelow = Annotated[
    float, typer.Option(help="Zoom at what is smaller than this share of the picture's shorter side; 0 never zooms.")
]
Least = Annotated[float, typer.Option(help="IoU that a trajectory must end with.")]
Plain = Annotated[bool, typer.Option("--plain", help="Word each thought always the same way.")]
Workers = Annotated[int, typer.Option(help="Processes; each takes a core and about 1 GiB.")]
Seed = Annotated[int, typer.Option(help="Another seed, other scenes.")]


def _known(words: str, allowed: tuple[str, ...], option: str) -> tuple[str, ...]:
    chosen = tuple(word.strip() for word in words.split(",") if word.strip())
    if not chosen or set(chosen) - set(allowed):
        raise typer.BadParameter(f"{option} takes some of {', '.join(allowed)}, separated by commas")
    return chosen


def _run(workshop: Workshop, count: int, workers: int) -> None:
    """Play, choose, write; a run of other options in the same folder is refused."""
    plan = {key: value for key, value in vars(workshop).items() if key not in ("folder", "segmenter")}
    try:
        remember(workshop, plan | {"segmenter": workshop.segmenter.variant})
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    bar = Progress(
        TextColumn("trajectories"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        console=console,
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=enough(count))
        tick = partial(_tick, bar, task, enough(count))
        perform(workshop, count, workers_of(workers), workers + AHEAD, tick)
    console.print(finish(workshop.folder, played(workshop, count), count))
    console.print(f"written: {workshop.folder}; look at {workshop.folder / 'index.html'}")


def _tick(bar: Progress, task: TaskID, total: int, passed: int) -> None:
    bar.update(task, completed=min(passed, total))


def _workshop(
    source: Source, out: Path, dialect: str, view: ViewSpec, images: str, habits: Habits, least: float, plain: bool,
    seed: int,
) -> Workshop:  # fmt: skip
    dialects.get(dialect)
    _known(images, get_args(ImageKind), "--images")
    return Workshop(
        source, out, dialect, view, settings.load().segmenter, cast(ImageKind, images), habits,
        varied=not plain, least=least, seed=seed,
    )  # fmt: skip


@app.command()
def make(
    out: Out,
    count: Count = 5000,
    kinds: Annotated[str, typer.Option(help="Kinds of request, separated by commas.")] = ",".join(ALL_KINDS),
    situations: Annotated[str, typer.Option(help="Kinds of scene, separated by commas.")] = ",".join(SITUATIONS),
    split: Annotated[str, typer.Option(help="Photographs of 'train', 'val' or 'test'.")] = "train",
    wording: Annotated[str, typer.Option(help="Phrasings and facts of 'train'ing, or the 'heldout' ones.")] = "train",
    pairs: Annotated[str, typer.Option(help="Names that may meet: 'seen', 'novel' or 'any'.")] = "seen",
    dialect: DialectName = "nano",
    max_pixels: MaxPixels = VIEW.max_pixels,
    min_pixels: MinPixels = VIEW.min_pixels,
    factor: Factor = VIEW.factor,
    images: Images = "jpeg",
    clicks: Clicks = 2,
    zoom_below: ZoomBelow = SMALL,
    least: Least = PASS,
    plain: Plain = False,
    workers: Workers = CORES,
    seed: Seed = 0,
) -> None:
    """Play, filter, balance and write trajectories over collages."""
    source = WorldSource(
        split=cast(Split, _known(split, get_args(Split), "--split")[0]),
        voice=cast(Voice, _known(wording, get_args(Voice), "--wording")[0]),
        kinds=cast(tuple[Kind, ...], _known(kinds, ALL_KINDS, "--kinds")),
        situations=cast(tuple[Situation, ...], _known(situations, SITUATIONS, "--situations")),
        combinations=cast(Combinations, _known(pairs, get_args(Combinations), "--pairs")[0]),
        seed=seed,
    )
    view = ViewSpec(max_pixels, factor, min_pixels)
    _run(
        _workshop(source, out, dialect, view, images, Habits(clicks=clicks, small=zoom_below), least, plain, seed),
        count,
        workers,
    )


@app.command()
def own(
    form: Annotated[str, typer.Argument(help="'coco' (an instances JSON) or 'reasonseg' (a folder of splits).")],
    path: Annotated[Path, typer.Argument(exists=True, help="The JSON file, or the folder.")],
    out: Out,
    count: Count = 5000,
    pictures: Annotated[Path | None, typer.Option(help="COCO: where the pictures are, if not beside the file.")] = None,
    split: Annotated[str, typer.Option(help="ReasonSeg: which folder.")] = "train",
    absent: Annotated[
        int,
        typer.Option(help="COCO: absent categories asked of each picture; 0 if not all of a category is annotated."),
    ] = 1,
    dialect: DialectName = "qwen3-vl",
    max_pixels: MaxPixels = 1024 * 1024,
    min_pixels: MinPixels = 0,
    factor: Factor = 32,
    images: Images = "jpeg",
    clicks: Clicks = 2,
    zoom_below: ZoomBelow = 0.1,
    least: Least = PASS,
    plain: Plain = False,
    workers: Workers = CORES,
    seed: Seed = 0,
) -> None:
    """The same from pictures and masks of one's own; stops when every picture has been played."""
    chosen = cast(Form, _known(form, get_args(Form), "the form")[0])
    source = OwnSource(chosen, path.resolve(), pictures and pictures.resolve(), split, absent)
    view = ViewSpec(max_pixels, factor, min_pixels)
    _run(
        _workshop(source, out, dialect, view, images, Habits(clicks=clicks, small=zoom_below), least, plain, seed),
        count,
        workers,
    )


@app.command(name="choose")
def again(out: Out, count: Count = 5000) -> None:
    """Choose anew, another number perhaps, from what a folder's run has played."""
    console.print(finish(out, shards_of(out), count))


@app.command()
def view(out: Out, each: Annotated[int, typer.Option(help="Of each shape and kind of request so many.")] = 2) -> None:
    """Write the page that shows some trajectories of every sort."""
    items = list(read(out))
    console.print(str(page(out, some_of_each(items, each), composition(items))))


if __name__ == "__main__":
    told(app)
