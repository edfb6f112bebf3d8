"""`python -m rsagent.training.policy`: the nano policy from nothing, one command a stage.

    album      compose scenes once, for all stages (a few minutes)
    tokenizer  the byte-level BPE
    vision     stage A, the tower alone: a few names first, then all
    drill      names looked up, boxes read, before stage B
    ground     stage B, requests answered by a first move
    play       expert episodes, beside stage B
    episodes   stage C, whole conversations
    export     an ordinary checkpoint directory

Each stage writes checkpoints into the run's folder and goes on from them when started again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from rsagent.training.policy.album import CROWDED, LARGE, Album, compose
from rsagent.training.policy.beginnings import centre, name_embeddings, prepare_language
from rsagent.training.policy.dense import DenseHeads
from rsagent.training.policy.drills import DrilledTrainer, DrillPlan, read_out, train_drills
from rsagent.training.policy.episodes import EpisodesPlan, EpisodesTrainer, train_episodes
from rsagent.training.policy.export import card, export, fresh
from rsagent.training.policy.grounding import (
    GroundingPlan,
    train_grounding,
)
from rsagent.training.policy.lessons import Scribe
from rsagent.training.policy.theatre import rehearse
from rsagent.training.policy.vision import VisionPlan, train_vision
from rsagent.training.policy.vocabulary import build_tokenizer, load_tokenizer
from rsagent.training.world import World

app = typer.Typer(help=__doc__, no_args_is_help=True)
Folder = Annotated[Path, typer.Option(help="Where albums, tokenizer, checkpoints and logs of this run live.")]
Minutes = Annotated[float, typer.Option(help="How long to train.")]
Threads = Annotated[int, typer.Option(help="CPU threads.")]
FEW = 60


def _begin(threads: int, seed: int = 0) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(seed)


@app.command()
def album(folder: Folder, pages: int = 80, crowded: int = 32, large: int = 15, few: int = 16) -> None:
    """Compose pages of 256 scenes: plain ones, crowded ones, ones of the first names only, large ones; a few of each
    on held-out backgrounds."""
    compose("val", range(10), folder / "album" / "val")
    compose("train", range(CROWDED, CROWDED + few), folder / "few" / "train", FEW)
    compose("val", range(1), folder / "few" / "val", FEW)
    compose("train", range(CROWDED, CROWDED + crowded), folder / "album" / "train")
    compose("train", range(pages), folder / "album" / "train")
    compose("train", range(LARGE, LARGE + large), folder / "album" / "large")


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
    threads: Threads = 1,
    device: str = "cpu",
) -> None:
    """Stage A: the tower, first on a few names, then on all."""
    _begin(threads)
    model = fresh(load_tokenizer(folder / "tokenizer"))
    first = VisionPlan(minutes=few, batch=batch, lr=lr, crowded=1.0, device=device)
    train_vision(model.model.visual, first, folder / "few", folder / "few")
    plan = VisionPlan(minutes=minutes, batch=batch, lr=lr, device=device)
    train_vision(model.model.visual, plan, folder / "album", folder, start=folder / "few" / "vision.pt")


def _grounder(folder: Path, plan: GroundingPlan, load: Callable[[Any, DenseHeads, Scribe], None]) -> DrilledTrainer:
    scribe = Scribe(load_tokenizer(folder / "tokenizer"))
    model = fresh(scribe.tokenizer)
    heads = DenseHeads(len(Album(folder / "album" / "train").names))
    load(model, heads, scribe)
    return DrilledTrainer(model.to(plan.device), heads.to(plan.device), scribe, plan, folder / "album")


def _first(folder: Path, model: Any, heads: DenseHeads, scribe: Scribe) -> None:
    """The tower of stage A, and a language model that starts where names are looked for."""
    album = Album(folder / "album" / "train")
    state = torch.load(folder / "vision.pt", weights_only=True)
    model.model.visual.load_state_dict(state["visual"])
    heads.load_state_dict(state["heads"])
    centre(model, heads, album)
    prepare_language(model, scribe)
    name_embeddings(model, scribe, heads, album.names)
    read_out(model, album)


@app.command()
def drill(folder: Folder, minutes: Minutes = 8.0, batch: int = 8, lr: float = 1e-3, threads: Threads = 1) -> None:
    """Names looked up among the image tokens, boxes read off them; the tower rests."""
    _begin(threads)
    scribe = Scribe(load_tokenizer(folder / "tokenizer"))
    model, heads = fresh(scribe.tokenizer), DenseHeads(len(Album(folder / "album" / "train").names))
    _first(folder, model, heads, scribe)
    torch.save(heads.state_dict(), folder / "heads.pt")
    train_drills(model, scribe, DrillPlan(minutes=minutes, batch=batch, lr=lr), folder / "album", folder)


@app.command()
def ground(
    folder: Folder, minutes: Minutes = 30.0, batch: int = 4, lr: float = 1e-3, threads: Threads = 1, device: str = "cpu"
) -> None:
    """Stage B: names, attributes, relations, reasoning, several, absent; one move each."""
    _begin(threads)

    def load(model: Any, heads: DenseHeads, scribe: Scribe) -> None:
        model.load_state_dict(torch.load(folder / "drills.pt", weights_only=True)["model"])
        heads.load_state_dict(torch.load(folder / "heads.pt", weights_only=True))

    plan = GroundingPlan(minutes=minutes, batch=batch, lr=lr, device=device)
    train_grounding(_grounder(folder, plan, load), folder)


def _stage(stage: str) -> Callable[[Path], Callable[[Any, DenseHeads, Scribe], None]]:
    def of(folder: Path) -> Callable[[Any, DenseHeads, Scribe], None]:
        def load(model: Any, heads: DenseHeads, scribe: Scribe) -> None:
            state = torch.load(folder / f"{stage}.pt", weights_only=True)
            model.load_state_dict(state["model"])
            heads.load_state_dict(state["heads"])

        return load

    return of


@app.command(name="play")
def rehearsal(folder: Folder, bills: int = 90) -> None:
    """Play expert episodes, 64 a file; stage C may start once there are some."""
    scribe = Scribe(load_tokenizer(folder / "tokenizer"))
    rehearse(scribe, Album(folder / "album" / "large"), World("train"), folder / "played", range(bills))


@app.command()
def episodes(
    folder: Folder,
    minutes: Minutes = 25.0,
    batch: int = 8,
    lr: float = 7e-4,
    tower: float = 0.25,
    threads: Threads = 1,
    device: str = "cpu",
) -> None:
    """Stage C: look, judge, mend, zoom, finish."""
    _begin(threads)
    ground = _grounder(folder, GroundingPlan(lr=lr, tower=tower, sigma=1.5, device=device), _stage("grounding")(folder))
    train_episodes(EpisodesTrainer(ground, EpisodesPlan(minutes=minutes, batch=batch), folder / "played"), folder)


@app.command(name="export")
def write(folder: Folder, to: Path, stage: str = "episodes") -> None:
    """Write the checkpoint of a stage as a directory that transformers and vLLM load."""
    tokens = load_tokenizer(folder / "tokenizer")
    model = fresh(tokens)
    state = torch.load(folder / f"{stage}.pt", weights_only=True)
    model.load_state_dict(state["model"])
    export(model, tokens, to, card(folder, stage))


if __name__ == "__main__":
    app()
