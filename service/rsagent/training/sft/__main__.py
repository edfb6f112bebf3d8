"""`python -m rsagent.training.sft`: supervised fine-tuning of a policy on trajectories.

\b
    # trajectories first
    python -m rsagent.training.synthesis make -o runs/trajectories

\b
    # the nano policy, one CPU core
    python -m rsagent.training.sft runs/trajectories runs/sft --lr 1e-4 --epochs 2

\b
    # a 7B checkpoint on GPUs: trajectories in its dialect, then low-rank additions (or --part all with FSDP)
    python -m rsagent.training.sft runs/trajectories-qwen runs/sft --checkpoint Qwen/Qwen2.5-VL-7B-Instruct \\
        --part lora --rank 64 --lr 1e-4 --batch 1 --accumulate 16
    torchrun --nproc-per-node 8 -m rsagent.training.sft runs/trajectories-qwen runs/sft --lr 1e-5 --batch 1 \\
        --checkpoint Qwen/Qwen2.5-VL-7B-Instruct --more fsdp=full_shard

Only the policy's own tokens are learned: no observation, no prompt, and no action that a later turn corrects. Prompts,
pictures and token ids are those of the served policy. Live curves: tensorboard --logdir FOLDER. What serves:
FOLDER/export. The nano policy's own training from nothing has stages of its own (rsagent.training.policy): a small
model learns where things are from dense targets long before it does from a few words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import torch
import typer
from rich.console import Console

from rsagent.cli.app import main as told
from rsagent.training.chat.adapting import Part
from rsagent.training.sft.train import Plan, beginning, parts, train
from rsagent.training.synthesis.choosing import SHARES

console = Console()


def main(
    data: Annotated[Path, typer.Argument(help="A folder of trajectories, as rsagent.training.synthesis writes it.")],
    folder: Annotated[Path, typer.Argument(help="Checkpoints, curves and the export of this run; resumes.")],
    checkpoint: Annotated[str, typer.Option(help="'nano', a checkpoint directory, or a hub id.")] = "nano",
    scratch: Annotated[bool, typer.Option("--from-scratch", help="Random weights in the checkpoint's shape.")] = False,
    part: Annotated[str, typer.Option(help="What learns: 'all', 'language' (the tower rests) or 'lora'.")] = "all",
    rank: Annotated[int, typer.Option(help="Rank of the low-rank additions.")] = 16,
    epochs: Annotated[float, typer.Option(help="Times over all trajectories.")] = 1.0,
    steps: Annotated[int, typer.Option(help="End after so many steps, whatever the epochs; -1: do not.")] = -1,
    batch: Annotated[int, typer.Option(help="Trajectories read at once, on each device.")] = 8,
    accumulate: Annotated[int, typer.Option(help="Batches an update.")] = 1,
    lr: Annotated[float, typer.Option(help="Peak learning rate: 1e-5 for a whole 7B, 1e-4 for lora or nano.")] = 1e-5,
    held_out: Annotated[int, typer.Option(help="Trajectories kept for the held-out loss (a fifth at most).")] = 64,
    save: Annotated[int, typer.Option(help="Steps between checkpoints and held-out losses.")] = 200,
    more: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of transformers' TrainingArguments.")] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="Leave trajectories of this shape out (meta.shape). May be repeated.")
    ] = None,
    device: str = "auto",
    dtype: Annotated[str, typer.Option(help="Type of the weights: 'auto', 'float32', 'bfloat16'.")] = "auto",
    seed: int = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
) -> None:
    if part not in get_args(Part):
        raise typer.BadParameter(f"--part is one of {', '.join(get_args(Part))}")
    if unknown := sorted(set(without or ()) - set(map(str, SHARES))):
        raise typer.BadParameter(f"--without {unknown[0]!r}: shapes are {', '.join(map(str, SHARES))}")
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    try:
        further = parts(more or [])
    except ValueError as error:
        raise typer.BadParameter(f"--more: {error}") from error
    plan = Plan(
        epochs, steps, batch, accumulate, lr,
        part=part, rank=rank, held_out=held_out, seed=seed, save=save, more=further,  # type: ignore[arg-type]
        without=without or (),
    )  # fmt: skip
    loaded, source = beginning(checkpoint, device, scratch=scratch, dtype=dtype)
    figures = train(loaded, source, data, folder, plan)
    if "eval_loss" in figures:
        console.print(f"held-out loss {figures['eval_loss']:.4f} nats a token")
    console.print(f"what serves: {folder / 'export'}; curves: {folder / 'curves.png'}")


if __name__ == "__main__":
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.command(help=__doc__)(main)
    told(app)
