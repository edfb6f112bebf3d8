"""The options of `rsagent eval`, as types: what they are called, mean, and may be. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HELP = """How good an agent is: gIoU and cIoU on samples with known masks, by kind of request, with 95 % intervals.

    rsagent eval --count 60 -o build/eval                  # collages of our own

    rsagent eval reasonseg data/ReasonSeg --split test

    rsagent eval refcocog data/refer_seg --split test --server URL

    rsagent eval --zoom both --turns 8                     # what zooming gains

The agent is the configured one (RSAGENT_… as for `rsagent serve`), or the service at `--server`. Every sample is
asked once within each budget of `--turns`. With `-o`, rows are written as they come: stopped or killed, the same
command goes on where it was. Then the folder holds report.md, report.json, and report.html with every turn.

A request that fails counts as IoU 0, and scored/total is shown. Where nothing is meant, saying so has IoU 1. Ends
with 0 when every sample was answered, with 1 when some were not.
"""

_SAMPLES = "What is asked"
_ANSWERS = "Who answers, and within what"
_RESULTS = "What comes of it"

Dataset = Annotated[str, typer.Argument(help="collages, reasonseg, refcoco, refcoco+, refcocog, grefcoco or coco.")]
Folder = Annotated[Path | None, typer.Argument(help="Where the data set is; collages are made.")]

Split = Annotated[
    str | None, typer.Option(rich_help_panel=_SAMPLES, help="The data set's split [default: val; collages: test].")
]
By = Annotated[
    str | None,
    typer.Option(rich_help_panel=_SAMPLES, help="Whose split of RefCOCO: unc, umd or google [default: the usual]."),
]
Images = Annotated[
    Path | None, typer.Option(rich_help_panel=_SAMPLES, help="COCO's pictures, where they are not found.")
]
Ignore = Annotated[
    str, typer.Option(rich_help_panel=_SAMPLES, help="ReasonSeg's ignored regions: exclude, target, background.")
]
Texts = Annotated[str, typer.Option(rich_help_panel=_SAMPLES, help="ReasonSeg: the first text of a picture, or all.")]
Absent = Annotated[
    int, typer.Option(rich_help_panel=_SAMPLES, help="COCO: also ask for so many absent categories.", min=0)
]
Count = Annotated[
    int, typer.Option(rich_help_panel=_SAMPLES, help="Collages to make, the kinds in equal shares.", min=1)
]
Wording = Annotated[
    str,
    typer.Option(
        rich_help_panel=_SAMPLES,
        help="Collages: phrasings 'heldout', of 'train'ing, or as people type: 'broad' (RL's) or 'fresh' (no one's).",
    ),
]
Scenes = Annotated[
    str, typer.Option(rich_help_panel=_SAMPLES, help="Collages: plain, small, touching, repeated or crowded.")
]
Pairs = Annotated[
    str, typer.Option(rich_help_panel=_SAMPLES, help="Collages: 'novel' pairs of things never met in training.")
]
Seed = Annotated[int, typer.Option(rich_help_panel=_SAMPLES, help="Collages: another seed, other scenes.", min=0)]
Kinds = Annotated[
    str, typer.Option(rich_help_panel=_SAMPLES, help="Only these kinds, with commas; collages also know 'all'.")
]
Limit = Annotated[
    int | None, typer.Option(rich_help_panel=_SAMPLES, help="So many samples, spread over the list.", min=1)
]

Turns = Annotated[str, typer.Option(rich_help_panel=_ANSWERS, help="Turn budgets to compare over the same samples.")]
Zoom = Annotated[str, typer.Option(rich_help_panel=_ANSWERS, help="on, off, or both beside each other.")]
Server = Annotated[
    str | None, typer.Option(rich_help_panel=_ANSWERS, help="Ask this service instead of loading the models.")
]
KeyFile = Annotated[
    Path | None, typer.Option(rich_help_panel=_ANSWERS, help="A file that holds the service's API key.", exists=True)
]
AtOnce = Annotated[int, typer.Option(rich_help_panel=_ANSWERS, help="Requests in flight.", min=1, max=64)]
Deadline = Annotated[float, typer.Option(rich_help_panel=_ANSWERS, help="Seconds for each request.", min=0.001)]

Output = Annotated[
    Path | None, typer.Option("-o", "--output", rich_help_panel=_RESULTS, help="A folder for rows and reports.")
]
Again = Annotated[
    bool, typer.Option("--again", rich_help_panel=_RESULTS, help="Ask again what ended in an error the last time.")
]
Pictures = Annotated[
    int, typer.Option(rich_help_panel=_RESULTS, help="Samples to draw on the page, turn by turn.", min=1)
]
Check = Annotated[
    bool, typer.Option("--check", rich_help_panel=_RESULTS, help="Compare our figures with pycocotools', and stop.")
]
