"""`python -m rsagent.training.segmenter train|evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rsagent.cli.app import main as told
from rsagent.segmenter.architecture import NANO

app = typer.Typer(help="Train and measure the nano segmenter.", no_args_is_help=True, add_completion=False)


@app.callback()
def main() -> None:
    """Train and measure the nano segmenter."""


@app.command()
def train(
    out: Annotated[Path, typer.Argument(help="Folder of checkpoints; a run found there is resumed.")],
    minutes: Annotated[float, typer.Option(help="How long to train, in minutes of the processor's work.")] = 80,
    side: Annotated[int, typer.Option(help="Longer side of the pictures, px.")] = 256,
    start: Annotated[Path | None, typer.Option(help="Weights to start from (another stage's).")] = None,
    lr: float = 1e-3,
    lr_end: float = 1e-6,
    images: int = 4,
    each: int = 9,
    refine: Annotated[float, typer.Option(help="Share of groups of prompts that are corrected by a click.")] = 0.25,
    scenes: Annotated[float, typer.Option(help="Share of pictures from the world's training split.")] = 0.0,
    ellipses: int = 0,
    grouping: float = 1.0,
    average: Annotated[float, typer.Option(help="How much of the running mean a step keeps.")] = 0.998,
    dense_only: bool = False,
    decoder_only: bool = False,
    seed: int = 0,
    cliparts: int = 2500,
) -> None:
    """Train one stage on collages."""
    from rsagent.training.segmenter.train import Recipe
    from rsagent.training.segmenter.train import train as run

    run(
        Recipe(
            out=out,
            minutes=minutes,
            side=side,
            start=start,
            lr=lr,
            lr_end=lr_end,
            images=images,
            each=each,
            refine=refine,
            scenes=scenes,
            ellipses=ellipses,
            grouping=grouping,
            average=average,
            dense_only=dense_only,
            decoder_only=decoder_only,
            seed=seed,
            cliparts=cliparts,
        )
    )


@app.command()
def evaluate(
    weights: Annotated[Path, typer.Argument(help="A safetensors file of a nano model.")],
    coco: Annotated[Path | None, typer.Option(help="Folder with instances.json and images/.")] = None,
    collages: Annotated[int, typer.Option(help="How many held-out collages.")] = 100,
    side: int = NANO.image_size,
) -> None:
    """Print mIoU figures as JSON: box, one point, box then one corrective click; photographs and collages."""
    typer.echo(json.dumps(_figures(weights, coco, collages, side), indent=1))


@app.command()
def export(
    weights: Annotated[Path, typer.Argument(help="The last stage's mean.safetensors.")],
    out: Annotated[Path, typer.Argument(help="Where to write, without suffix: …/segmenter/weights/nano")],
    stages: Annotated[list[Path], typer.Option("--stage", help="Folders of the stages, in order.")],
    coco: Annotated[Path | None, typer.Option(help="Folder with instances.json and images/.")] = None,
    collages: int = 100,
    side: int = NANO.image_size,
) -> None:
    """Measure, then write the package's weights and the page about them."""
    from rsagent.training.segmenter.export import export as run

    run(weights, side, stages, _figures(weights, coco, collages, side), out)


def _figures(weights: Path, coco: Path | None, collages: int, side: int) -> dict[str, object]:
    import torch

    from rsagent.segmenter.core import SamCore
    from rsagent.training.segmenter import measure
    from rsagent.training.segmenter.train import load

    torch.set_num_threads(1)
    core = SamCore(load(weights, side))
    figures: dict[str, object] = {}
    if coco is not None:
        figures["photographs"] = measure.measure(core, measure.coco(coco))
    if collages:
        figures["collages"] = measure.measure(core, measure.collages(collages))
    return figures


if __name__ == "__main__":
    told(app)
