"""`python -m rsagent.training.rl`: agentic RL (GRPO) of a policy over whole episodes.

\b
    # the nano policy, one CPU core
    python -m rsagent.training.rl run runs/rl --minutes 60 --lr 5e-4 --kl 0.03 --temperature 0.8 --keep 0.6

\b
    # a 7B checkpoint after SFT: vLLM samples, this process trains low-rank additions
    VLLM_SERVER_DEV_MODE=1 vllm serve runs/sft/export --port 8001 --enable-prompt-tokens-details \\
        --limit-mm-per-prompt '{"image": 17, "video": 0}' --logprobs-mode processed_logprobs
    python -m rsagent.training.rl run runs/rl --checkpoint runs/sft/export --vllm http://127.0.0.1:8001/v1 \\
        --part lora --lr 1e-5 --kl 1e-3 --requests 32 --group 8 --rows 1

Live curves: tensorboard --logdir runs/rl. What serves: runs/rl/export (RSAGENT_POLICY__LOCAL__CHECKPOINT).
"""

from __future__ import annotations

import asyncio
import copy
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import torch
import typer
from rich.console import Console
from rich.table import Table

from rsagent import settings
from rsagent.cli.app import main as told
from rsagent.policy.checkpoint import Checkpoint, load
from rsagent.policy.files import locate
from rsagent.policy.settings import LocalPolicySettings
from rsagent.service import load_segmenter
from rsagent.training.chat.adapting import Part, adapt
from rsagent.training.chat.reading import Reader
from rsagent.training.policy.growing import said_with
from rsagent.training.policy.lessons import PLAIN
from rsagent.training.rl import curves, merging
from rsagent.training.rl.journal import Journal
from rsagent.training.rl.objective import Clip, Credit, Scale
from rsagent.training.rl.plan import Guided, Learned, Plan, Practice
from rsagent.training.rl.pool import ASKED, Pool
from rsagent.training.rl.rewards import REWARDS, WEIGHTS, weighed
from rsagent.training.rl.samplers import InProcess, Sampler, Served
from rsagent.training.rl.train import TRIES, Stage, train
from rsagent.training.world import World
from rsagent.training.world.phrasing import Voice

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
console = Console()
SHOWN = ("step", "reward", "giou", "refused_present", "refused_absent", "turns", "alike", "entropy", "clipped", "gap",
         "norm", "play_seconds", "learn_seconds", "led")  # fmt: skip
VOICES: tuple[Voice, ...] = ("train", "broad")
"""What is practised is asked in turn with what is known: where that was one scene in three, it was unlearned."""
Folder = Annotated[Path, typer.Argument(help="Checkpoint, figures, curves and the export of this run; resumes.")]


@app.command()
def run(
    folder: Folder,
    checkpoint: Annotated[str, typer.Option(help="'nano', a checkpoint directory, or a hub id.")] = "nano",
    minutes: Annotated[float, typer.Option(help="End the run after so many minutes of its own time.")] = 60.0,
    steps: Annotated[int, typer.Option(help="End the run after so many steps.")] = 100_000,
    requests: Annotated[int, typer.Option(help="Requests a step.")] = 8,
    each: Annotated[int, typer.Option(help="Requests about one scene, whose picture is encoded once.", min=1)] = 1,
    group: Annotated[int, typer.Option(help="Episodes a request (4-16).")] = 8,
    sift: Annotated[
        float, typer.Option(help="Try so many times the requests twice, and go on with those that tell most.")
    ] = 1.0,
    turns: Annotated[int, typer.Option(help="Turns an episode may take.")] = 8,
    temperature: Annotated[float, typer.Option(help="At which episodes are sampled; what is served is greedy.")] = 1.0,
    updates: Annotated[int, typer.Option(help="Updates a pass.")] = 2,
    passes: Annotated[int, typer.Option(help="Passes a step: playing costs more than learning.")] = 1,
    keep: Annotated[
        float, typer.Option(help="Share of the episodes to learn from: those farthest from their group.")
    ] = 1.0,
    rows: Annotated[int, typer.Option(help="Episodes read at once in training: memory, not result.")] = 8,
    lr: Annotated[float, typer.Option(help="Learning rate: 1e-6 for a whole 7B, 1e-5 for lora, 5e-4 for nano.")] = 1e-6,
    kl: Annotated[float, typer.Option(help="Weight of the divergence from the starting weights.")] = 0.0,
    clip: Annotated[tuple[float, float], typer.Option(help="How far a token's chance may move: down, up.")] = (
        0.2,
        0.28,
    ),
    scale: Annotated[
        str, typer.Option(help="Advantages over their 'group' deviation (GRPO), or 'none' (Dr. GRPO).")
    ] = "none",
    credit: Annotated[
        str,
        typer.Option(help="What an episode gained is due to all its tokens ('episode') or where it parts ('branch')."),
    ] = "episode",
    least: Annotated[float, typer.Option(help="Leave out tokens to which less than this is due, either way.")] = 0.0,
    blame: Annotated[float, typer.Option(help="Weight of what is due below nothing.")] = 1.0,
    otherwise: Annotated[float, typer.Option(help="Share of requests said in other words than the world's.")] = 0.5,
    words: Annotated[
        Path | None, typer.Option(help="A run of rsagent.training.policy, whose words say sentences otherwise.")
    ] = None,
    split: Annotated[str, typer.Option(help="Photographs of 'train', or of 'val', which no cold start has seen.")] = (
        "train"
    ),
    strange: Annotated[float, typer.Option(help="Share of scenes whose ground no photograph shows.")] = 0.0,
    practice: Annotated[
        str,
        typer.Option(
            help="What to ask in that no supervised stage has read: 'sentences' about things, 'phrasings'"
            " of requests, 'both' or 'none'."
        ),
    ] = "none",
    guided: Annotated[
        str,
        typer.Option(
            help="Let the expert end one episode of each group that failed: where something is 'present', in 'all', or"
            " in 'none'."
        ),
    ] = "none",
    moves: Annotated[
        bool,
        typer.Option("--moves", help="Practise single moves, judged at once against the truth, not whole episodes."),
    ] = False,
    replay: Annotated[
        float, typer.Option(help="Learn again from so many times as many episodes that the expert ended before.", min=0)
    ] = 0.0,
    part: Annotated[
        str, typer.Option(help="What learns: 'language', its 'layers' alone, 'all' or 'lora'.")
    ] = "language",
    rank: Annotated[int, typer.Option(help="Rank of the low-rank additions.")] = 16,
    weight: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE of a reward; see `rewards`. May be repeated.")
    ] = None,
    without: Annotated[list[str] | None, typer.Option(help="Leave this reward out. May be repeated.")] = None,
    watch: Annotated[float, typer.Option(help="Minutes between looks at held-out requests.")] = 15.0,
    watched: Annotated[int, typer.Option(help="How many held-out requests; 0 for none.")] = 120,
    save: Annotated[float, typer.Option(help="Minutes between checkpoints.")] = 5.0,
    vllm: Annotated[str | None, typer.Option(help="URL (…/v1) of a vLLM server that samples.")] = None,
    names: Annotated[int | None, typer.Option(help="Use the first so many names of the world only.")] = None,
    device: str = "auto",
    seed: int = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
) -> None:
    """Train. The segmenter is the one that the service would use (RSAGENT_SEGMENTER__…)."""
    plan = Plan(
        steps, minutes, requests, each, group, sift, turns, temperature, updates, passes, keep, rows, lr,
        clip=Clip(*clip), scale=_one_of(Scale, scale, "scale"), credit=_one_of(Credit, credit, "credit"), kl=kl,
        otherwise=otherwise, split=_one_of(Learned, split, "split"), strange=strange, words=words,
        practice=_one_of(Practice, practice, "practice"), guided=_one_of(Guided, guided, "guided"), replay=replay,
        moves=moves, least=least, blame=blame,
        part=_one_of(Part, part, "part"), rank=rank, seed=seed, save=save, watch=watch, watched=watched,
        weights=_table(weight or [], without or []),
    )  # fmt: skip
    if plan.split == "val" and plan.watched:
        raise typer.BadParameter("--split val learns from what --watched would watch: give --watched 0")
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    loaded = load(LocalPolicySettings(checkpoint=checkpoint, device=device))
    asyncio.run(_run(folder, loaded, locate(checkpoint), plan, vllm, names))


@app.command()
def merge(
    out: Annotated[Path, typer.Argument(help="Where the merged checkpoint goes.")],
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs that began at the same checkpoint.")],
) -> None:
    """Write the mean of several runs' weights as a checkpoint that serves."""
    merging.merge(out, folders)
    console.print(f"what serves: {out}")


@app.command()
def plot(folder: Folder, out: Annotated[Path | None, typer.Option("-o", "--out", help="A PNG.")] = None) -> None:
    """Draw a run's curves."""
    console.print(f"curves: {curves.draw(folder, out)}")


@app.command()
def rewards() -> None:
    """The rewards, what each means, and its weight."""
    table = Table("reward", "weight", "what it is")
    for name, function in REWARDS.items():
        table.add_row(name, f"{WEIGHTS[name]:g}", " ".join((function.__doc__ or "").split("\n\n")[0].split()))
    console.print(table)


async def _run(
    folder: Path, checkpoint: Checkpoint, source: Path, plan: Plan, vllm: str | None, names: int | None
) -> None:
    start = replace(checkpoint, model=copy.deepcopy(checkpoint.model).requires_grad_(False)) if plan.kl else None
    model = adapt(checkpoint.model, plan.part, plan.rank)
    journal = Journal(folder, plan)
    episodes = max(plan.requests * max(plan.group, round(TRIES * plan.sift)), plan.watched)
    sampler: Sampler = InProcess(checkpoint, episodes)
    if vllm is not None:
        await sampler.close()
        sampler = Served(vllm, checkpoint, model, source, folder / "served")
        await sampler.renew()
    reference = None if start is None else _reference(start, plan, sampler)
    roomy = settings.load().segmenter.model_copy(update={"queue": max(64, episodes)})
    segmenter = load_segmenter(roomy)
    said = PLAIN if plan.words is None else said_with(plan.words)
    world = World(plan.split, names=names, lore="practised" if plan.practice in ("sentences", "both") else None)
    voices: tuple[Voice, ...] = VOICES if plan.practice in ("phrasings", "both") else ("train",)
    pool = Pool(
        world,
        plan.seed,
        kinds=ASKED,
        otherwise=plan.otherwise,
        words=said,
        strange=plan.strange,
        voices=voices,
        each=plan.each,
    )
    held_out = Pool(World("val", names=names))
    stage = Stage(checkpoint, model, source, sampler, segmenter, pool, held_out, reference)
    try:
        await train(stage, plan, journal, _tell)
    finally:
        await sampler.close()
        await segmenter.close()
        journal.close()
    console.print(f"what serves: {folder / 'export'}; curves: {folder / 'curves.png'}")


def _reference(start: Checkpoint, plan: Plan, sampler: Sampler) -> Reader:
    """The starting weights, kept to stay near them. Where the tower rests, they see what the sampler sees."""
    return Reader(start) if plan.part == "all" else Reader(start, known=sampler.known)


def _tell(figures: Mapping[str, float]) -> None:
    shown = {name: value for name, value in figures.items() if name in SHOWN or name.startswith("held-out")}
    console.print(" ".join(f"{name} {value:.4g}" for name, value in shown.items()), soft_wrap=True, highlight=False)


def _table(changes: list[str], without: list[str]) -> Mapping[str, float]:
    try:
        pairs = [change.split("=", 1) for change in changes]
        return weighed({name: float(value) for name, value in pairs} | dict.fromkeys(without, 0.0))
    except ValueError as error:
        raise typer.BadParameter(f"--weight NAME=VALUE, --without NAME: {error}") from error


def _one_of(kinds: Any, value: str, option: str) -> Any:
    if value not in get_args(kinds):
        raise typer.BadParameter(f"--{option} is one of {', '.join(get_args(kinds))}")
    return cast(Any, value)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    told(app)
