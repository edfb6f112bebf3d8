"""The command line. Heavy modules are imported by the command that needs them, so that `--help` answers at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from rsagent.allocator import keep_memory
from rsagent.cli import eval_options
from rsagent.errors import RSAgentError

HELP = """Text-guided segmentation that reasons and acts.

Post a picture and a sentence; a policy calls a segmenter, looks at the mask drawn on the picture, corrects itself over
several turns, and submits. Start with one of these:

    rsagent serve                                      # and its page

    rsagent segment cup.jpg "what you drink from" -o overlay.png

    rsagent batch manifest.jsonl -o answers.jsonl      # many at once

    rsagent eval --count 60 -o build/eval              # how good it is

    rsagent examples                                   # pictures to try

Settings come from RSAGENT_… variables or a TOML file (`rsagent settings` lists them with their values).
"""

app = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode="markdown", add_completion=False)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [default: 127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one [default: 8080].")] = None,
    profile: Annotated[
        str | None, typer.Option(help="embedded, engines (vLLM and Ray Serve) or cluster [default: embedded].")
    ] = None,
) -> None:
    """Serve the HTTP API and a page to try it on.

    The embedded default loads both models into this process. With `--profile engines` vLLM and a Ray Serve pool are
    started beside it, and end with it (`make engines` sets them up). For other weights see the README.
    """
    from rsagent.cli.serve import serve as run

    run(host, port, profile)


@app.command()
def segment(
    image: Annotated[Path, typer.Argument(help="A JPEG, PNG or WebP file.", exists=True, dir_okay=False)],
    query: Annotated[str, typer.Argument(help='What to segment, in words: "the red cup".')],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the picture with the masks.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The whole answer on stdout, the turns on stderr.")] = False,
    server: Annotated[str | None, typer.Option(help="Ask this service instead of loading the models.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="A file that holds the service's API key.", exists=True)] = None,
    turns: Annotated[int | None, typer.Option(min=1, help="The most turns the policy gets.")] = None,
    deadline: Annotated[float | None, typer.Option(min=0.001, help="Seconds for the whole request.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Makes sampling repeatable.")] = None,
    pictures: Annotated[
        bool | None,
        typer.Option("--pictures/--no-pictures", help="Draw what the policy sees [default: on a terminal]."),
    ] = None,
) -> None:
    """Segment what a sentence means in a picture, and watch the turns.

    Ends with 0 when the policy came to an answer (also: that there is no such thing), with 1 when it did not.
    """
    from rsagent.cli import segment as command

    drawn = Console(stderr=as_json).is_terminal if pictures is None else pictures
    options = command.options_of(turns, deadline, drawn, seed)
    if output is not None:
        command.check_writable(output)
    picture = image.read_bytes()
    key = command.read_key(key_file)
    answer = asyncio.run(
        command.segment(picture, query, options, server=server, pictures=drawn, as_json=as_json, api_key=key)
    )
    if output is not None:
        command.write_overlay(picture, answer, output)
        Console(stderr=True).print(f"[dim]wrote {output}[/]")
    if as_json:
        command.write_json(answer)
    raise typer.Exit(int(answer.status == "incomplete"))


@app.command()
def batch(
    manifest: Annotated[Path, typer.Argument(help="Requests, a JSON object a line.", exists=True, dir_okay=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="Answers, a JSON object a line; resumed if there.")],
    coco: Annotated[Path | None, typer.Option(help="Also write the masks as a COCO results file.")] = None,
    server: Annotated[str | None, typer.Option(help="Ask this service instead of loading the models.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="A file that holds the service's API key.", exists=True)] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Requests at once.")] = 4,
    turns: Annotated[int | None, typer.Option(min=1, help="The most turns the policy gets.")] = None,
    deadline: Annotated[float | None, typer.Option(min=0.001, help="Seconds for each request.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Makes sampling repeatable.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Ask again what ended in an error the last time.")] = False,
) -> None:
    """Segment many pictures: requests from a file, answers into a file.

    A line of the manifest is {"image": "path", "query": "words"}; "id" (default: the line's number), and "image_id"
    and "category_id" for COCO results, may be added. Paths are relative to the manifest. Answers come in the order in
    which they are ready, errors as rows among them. Stopped or killed, the same command goes on where it was; what was
    given of --turns and --seed stands in each row (`asked`), and answers of others are not mixed with them.

    Ends with 0 when every row has an answer, with 1 when some have an error.
    """
    from rsagent.cli import batch as command

    plan = command.Plan(manifest, output, coco, server, key_file, concurrency, again)
    errors = asyncio.run(command.batch(plan, command.options_of(turns, deadline, seed)))
    raise typer.Exit(int(errors > 0))


@app.command("eval", help=eval_options.HELP)
def evaluate(
    dataset: eval_options.Dataset = "collages",
    path: eval_options.Folder = None,
    split: eval_options.Split = None,
    by: eval_options.By = None,
    images: eval_options.Images = None,
    ignore: eval_options.Ignore = "exclude",
    texts: eval_options.Texts = "first",
    absent: eval_options.Absent = 0,
    count: eval_options.Count = 300,
    wording: eval_options.Wording = "heldout",
    scenes: eval_options.Scenes = "plain",
    pairs: eval_options.Pairs = "any",
    seed: eval_options.Seed = 0,
    kinds: eval_options.Kinds = "",
    limit: eval_options.Limit = None,
    turns: eval_options.Turns = "1,8",
    zoom: eval_options.Zoom = "on",
    server: eval_options.Server = None,
    key_file: eval_options.KeyFile = None,
    at_once: eval_options.AtOnce = 8,
    deadline: eval_options.Deadline = 120.0,
    output: eval_options.Output = None,
    again: eval_options.Again = False,
    pictures: eval_options.Pictures = 24,
    check: eval_options.Check = False,
) -> None:
    from rsagent.cli import evaluate as command
    from rsagent.cli import samples

    if check:
        raise typer.Exit(int(not command.check()))
    made = samples.Made(count, wording, scenes, pairs, seed)
    choice = samples.Choice(dataset, path, split, by, images, ignore, texts, absent, command.listed(kinds), limit, made)
    plan = command.Plan(
        command.runs_of(turns, zoom), server, key_file, at_once, deadline, output, again, pictures, choice.as_config()
    )
    reports = asyncio.run(command.run(plan, samples.load(choice)))
    typer.echo(command.told(reports))
    raise typer.Exit(int(any(report.all.scored < report.all.total for report in reports.values())))


@app.command()
def examples() -> None:
    """List the shipped pictures, each with sentences to try."""
    from rsagent.examples import load

    console = Console()
    for example in load():
        console.print(f"[bold]{example.path}[/] [dim]{example.name}[/]", soft_wrap=True, highlight=False)
        for sentence in example.sentences:
            console.print(f"    {sentence}", highlight=False)


@app.command()
def settings() -> None:
    """List every setting with its value and the variable that changes it."""
    from rsagent import settings as root
    from rsagent.cli.settings import rows

    console = Console()
    for variable, value, meaning in rows(root.load()):
        console.print(f"[bold]{variable}[/]={escape(value)} [dim]{escape(meaning)}[/]", soft_wrap=True, highlight=False)


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Whose key it is: letters, digits, dots, dashes, underscores.")],
    rate: Annotated[float | None, typer.Option(min=0.001, help="Requests a second it may make.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Requests of it served at once.")] = None,
) -> None:
    """Make an API key. Its line for the key file goes to stdout, the key itself to stderr, this one time.

    For example: `rsagent key alice >> keys.txt`, then `RSAGENT_KEYS__FILE=keys.txt rsagent serve`.
    """
    from rsagent.cli.key import make

    line, secret = make(name, rate, concurrency)
    typer.echo(line)
    Console(stderr=True).print(f"the key of {name}, shown once: [bold]{secret}[/]", highlight=False, soft_wrap=True)


def main(command: Callable[[], object] | None = None) -> None:
    """Run `command`, `rsagent` itself if none is given; an error of ours is one line on stderr and exit status 1."""
    keep_memory()
    try:
        (command or app)()
    except RSAgentError as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise SystemExit(1) from None
