"""Training the nano segmenter on one core: collages in, one safetensors file out.

Left out on purpose: distributed training, data workers (a collage costs a thirtieth of a step), mixed-precision
loss scaling (bfloat16 needs none).  Time, not steps, is what is scarce, so the schedule runs on minutes: of the
process's own work (`time.process_time`), so that one that is paused or gets half a core loses none of its schedule.
"""

from __future__ import annotations

import copy
import json
import math
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from numpy.typing import NDArray
from rich.progress import Progress
from safetensors.torch import load_file, save_file

from rsagent.segmenter import lite
from rsagent.segmenter.architecture import NANO, Sam, build
from rsagent.segmenter.decoding import PromptBatch, decode
from rsagent.segmenter.details import levels_of
from rsagent.training.segmenter import losses
from rsagent.training.segmenter.collage import Collage, compose
from rsagent.training.segmenter.material import Material, gather
from rsagent.training.segmenter.prompts import Task, corrections, ellipses, make_task, select
from rsagent.training.segmenter.scenes import pictured
from rsagent.training.world import World


@dataclass(frozen=True)
class Recipe:
    """One stage of training.  `side` px; `images` a step with `each` prompts; lr falls from `lr` to `lr_end`.

    `scenes` is the share of pictures from the world's training split, `refine` of prompts that are corrected once.
    """

    out: Path
    minutes: float
    side: int = 256
    images: int = 4
    each: int = 9
    lr: float = 1e-3
    lr_end: float = 1e-6
    warmup: int = 60
    refine: float = 0.25
    scenes: float = 0.0
    ellipses: int = 0
    average: float = 0.998
    grouping: float = 1.0
    dense_only: bool = False
    decoder_only: bool = False
    seed: int = 0
    cliparts: int = 2500
    start: Path | None = None


@dataclass
class State:
    """All that a checkpoint holds."""

    model: Sam
    mean: Sam
    grouping: losses.Grouping
    optimizer: torch.optim.AdamW
    step: int = 0
    seconds: float = 0.0


def train(recipe: Recipe) -> None:
    """Run one stage, resuming from `recipe.out` where it was interrupted; SIGTERM ends it after the step at hand."""
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    recipe.out.mkdir(parents=True, exist_ok=True)
    material = gather(recipe.cliparts, cache=recipe.out.parent / "material.pt")
    world = World("train") if recipe.scenes else None
    state = _begin(recipe)
    with Progress() as progress, (recipe.out / "log.jsonl").open("a", buffering=1) as log:
        bar = progress.add_task("training", total=recipe.minutes * 60, completed=int(state.seconds))
        saved = time.monotonic()
        while state.seconds < recipe.minutes * 60 and not asked.is_set():
            began = time.process_time()
            figures = _step(state, material, world, recipe)
            state.seconds += time.process_time() - began
            progress.update(bar, completed=state.seconds, description=f"step {state.step} {figures['loss']:.3f}")
            log.write(json.dumps({"step": state.step, "seconds": round(state.seconds, 1), **figures}) + "\n")
            if time.monotonic() - saved > 120:
                _save(state, recipe)
                saved = time.monotonic()
    _save(state, recipe)


def _begin(recipe: Recipe) -> State:
    torch.manual_seed(recipe.seed)
    model = fresh(recipe.side)
    # What is expected of a box is added when all is learned: on collages it is often wrong, and would be undone.
    model.prompt_encoder.prior = 0.0
    if recipe.start is not None:
        _inherit(model, load_file(recipe.start))
    model.train()
    grouping = losses.Grouping(NANO.prompt_width // 8)
    state = State(model, copy.deepcopy(model), grouping, _optimizer(model, grouping, recipe))
    saved = recipe.out / "state.pt"
    if saved.is_file():
        held = torch.load(saved, weights_only=True)
        model.load_state_dict(held["model"])
        state.mean.load_state_dict(held["mean"])
        grouping.load_state_dict(held["grouping"])
        state.optimizer.load_state_dict(held["optimizer"])
        state.step, state.seconds = held["step"], held["seconds"]
    return state


def _inherit(model: Sam, weights: dict[str, torch.Tensor]) -> None:
    """Take over what fits: all of an earlier stage of the same architecture, the decoder of another one."""
    own = model.state_dict()
    weights = fitted(lite.own(weights), model)
    model.load_state_dict({k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}, strict=False)


def _optimizer(model: Sam, grouping: losses.Grouping, recipe: Recipe) -> torch.optim.AdamW:
    learned = [p for p in (*model.parameters(), *grouping.parameters()) if p.requires_grad]
    groups = [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, recipe.lr, betas=(0.9, 0.98))


def fresh(side: int) -> Sam:
    """An untrained nano model for pictures of `side` px: behind its published backbone, which is not to be trained.

    Its position table is begun as sines of the two axes.
    """
    model = build(replace(NANO, image_size=side))
    model.image_encoder.patch_embed.backbone.requires_grad_(False).load_state_dict(lite.backbone())
    table = model.image_encoder.pos_embed
    height, width, channels = table.shape[1:]
    waves = torch.exp(torch.linspace(math.log(0.5), math.log(16), channels // 4)) * math.pi
    along = [torch.arange(n)[:, None] / n * waves for n in (height, width)]
    ys, xs = (torch.cat([a.sin(), a.cos()], 1) for a in along)
    whole = torch.cat([ys[:, None].expand(-1, width, -1), xs[None].expand(height, -1, -1)], 2)
    with torch.no_grad():
        table.copy_(0.2 * whole[None])
        model.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.copy_(_frequencies())
    return model


def _frequencies() -> torch.Tensor:
    """The prompt encoder's frequencies [2, 64], in half-waves a picture: three quarters along one axis, from slow to
    fast, the rest as SAM draws them.

    SAM draws all at random, and has the data for it.  "Right of the left edge" is a sum of slow sines of x alone:
    given those, the decoder leaves its plateau (empty masks) within 150 steps instead of thousands.
    """
    slow_to_fast = torch.exp(torch.linspace(math.log(0.1), math.log(6), 24))
    out = torch.zeros(2, 64)
    out[0, :24] = out[1, 24:48] = slow_to_fast
    out[:, 48:] = 0.5 * torch.randn(2, 16)
    return out


def load(weights: Path, side: int) -> Sam:
    """A trained nano model for pictures of `side` px."""
    model = fresh(side)
    model.load_state_dict(lite.completed(fitted(load_file(weights), model)))
    return model.eval()


def fitted(weights: dict[str, torch.Tensor], model: Sam) -> dict[str, torch.Tensor]:
    """The weights with their position table brought to the model's size."""
    key = "image_encoder.pos_embed"
    grid = model.image_encoder.pos_embed.shape[1:3]
    table = F.interpolate(weights[key].permute(0, 3, 1, 2), grid, mode="bicubic", align_corners=False)
    return {**weights, key: table.permute(0, 2, 3, 1).contiguous()}


def _step(state: State, material: Material, world: World | None, recipe: Recipe) -> dict[str, float]:
    rng = np.random.default_rng((recipe.seed, recipe.side, state.step))
    _schedule(state, recipe)
    task = _task(state, material, world, recipe, rng)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.set_grad_enabled(not recipe.decoder_only):
            embeddings = state.model.image_encoder(task.images)
        groups = [] if recipe.dense_only else _groups(task, rng)
        levels = levels_of(state.model.mask_decoder, embeddings)
        parts = [_group(state.model, levels, task, rows, kind, recipe, rng) for rows, kind in groups]
    grouping = _grouping(state, levels, task) if recipe.grouping else embeddings.new_zeros(())
    weight = sum(count for _, _, count in parts)
    loss = sum((part * (count / weight) for part, _, count in parts), start=recipe.grouping * grouping)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(state.model.parameters(), 1.0)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    state.step += 1
    _follow(state, recipe)
    reached = dict(zip(("iou", "iou_other"), (iou for _, iou, _ in parts), strict=False))
    return {"loss": loss.item(), **reached, "grouping": grouping.item(), "norm": norm.item()}


def _task(state: State, material: Material, world: World | None, recipe: Recipe, rng: np.random.Generator) -> Task:
    if state.step < recipe.ellipses:
        return ellipses(recipe.side, 4 * recipe.each, rng)

    def picture() -> Collage:
        if world is not None and rng.random() < recipe.scenes:
            return pictured(world, recipe.side, rng)
        return compose(material, recipe.side, rng)

    return make_task([picture() for _ in range(recipe.images)], recipe.side, recipe.each, rng)


def _grouping(state: State, levels: Sequence[torch.Tensor], task: Task) -> torch.Tensor:
    if not levels[0].requires_grad or not (task.owners >= 0).any():
        return levels[0].new_zeros((), dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        features = state.model.mask_decoder.upscaled(*levels)
    out: torch.Tensor = state.grouping(features.float(), task.owners)
    return out


def _schedule(state: State, recipe: Recipe) -> None:
    done = min(1.0, state.seconds / (recipe.minutes * 60))
    rate = recipe.lr_end + (recipe.lr - recipe.lr_end) * (1 + math.cos(math.pi * done)) / 2
    for group in state.optimizer.param_groups:
        group["lr"] = rate * min(1.0, (state.step + 1) / recipe.warmup)


def _groups(task: Task, rng: np.random.Generator) -> list[tuple[NDArray[np.intp], str]]:
    """Three quarters of the prompts are boxes; the others, in turn, points or a box with a point."""
    rows = np.arange(len(task.masks))
    boxed = rows % 4 < 3
    groups = [(rows[boxed], "box"), (rows[~boxed], "point" if rng.random() < 0.7 else "both")]
    return [(some, kind) for some, kind in groups if len(some)]


def _group(
    model: Sam,
    levels: Sequence[torch.Tensor],
    task: Task,
    rows: NDArray[np.intp],
    kind: str,
    recipe: Recipe,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, float, float]:
    """Loss of one group of prompts, IoU of its single-mask output, and the group's weight; `levels` are the images'."""
    index = task.image_index[torch.from_numpy(rows)]
    targets = task.targets[torch.from_numpy(rows)]
    prompts = select(task, rows, kind, rng)
    with torch.autocast("cpu", enabled=False):
        positions = model.prompt_encoder.get_dense_pe()
    logits, scores = _decoded(model, levels, index, positions, prompts)
    loss = losses.total(logits, scores, targets, ambiguous=kind == "point")
    reached = losses.ious(logits[:, :1], targets).mean().item()
    if rng.random() < recipe.refine:
        some = rng.permutation(len(rows))[: (len(rows) + 1) // 2]
        carried = logits if kind == "both" else _favourite(logits, scores)
        second = _corrected(task, rows[some], prompts, some, carried, rng)
        again, rated = _decoded(model, levels, index[torch.from_numpy(some)], positions, second)
        loss = loss + 0.5 * losses.total(again, rated, targets[torch.from_numpy(some)])
    return loss, reached, float(len(rows))


def _decoded(
    model: Sam, levels: Sequence[torch.Tensor], index: torch.Tensor, positions: torch.Tensor, prompts: PromptBatch
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and scores, float32; `index` int64 [B]: which image each prompt is about."""
    own = [level.index_select(0, index) for level in levels]
    logits, scores = decode(model, own, positions, prompts)
    return logits.float(), scores.float()


def _favourite(logits: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """What is shown for a lone hint: of the three outputs the one believed best, [B, 1, h, w]."""
    best = 1 + scores[:, 1:].argmax(1)
    return logits[torch.arange(len(logits)), best].unsqueeze(1)


def _corrected(
    task: Task,
    rows: NDArray[np.intp],
    first: PromptBatch,
    some: NDArray[np.intp],
    logits: torch.Tensor,
    rng: np.random.Generator,
) -> PromptBatch:
    """The same prompts with their own mask carried over and a click where it errs."""
    picked = torch.from_numpy(some)
    previous = logits.detach()[picked, :1]
    large = F.interpolate(previous, scale_factor=2.0, mode="bilinear").squeeze(1) > 0
    points, labels = corrections(task.masks[rows], large.numpy(), rng)
    if first.points is not None and first.labels is not None:
        points = torch.cat([first.points[picked], points], 1)
        labels = torch.cat([first.labels[picked], labels], 1)
    boxes = None if first.boxes is None else first.boxes[picked]
    return PromptBatch(boxes, points, labels, previous.clamp(-20, 20))


def _follow(state: State, recipe: Recipe) -> None:
    """The running mean of the weights, faster at first."""
    keep = min(recipe.average, (state.step + 1) / (state.step + 20))
    with torch.no_grad():
        own = list(state.model.parameters())
        torch._foreach_lerp_(list(state.mean.parameters()), own, 1 - keep)
        for mine, theirs in zip(state.mean.buffers(), state.model.buffers(), strict=True):
            mine.copy_(theirs)


def _save(state: State, recipe: Recipe) -> None:
    """Write beside and rename, so that an interruption never leaves half a file."""
    held = {
        "model": state.model.state_dict(),
        "mean": state.mean.state_dict(),
        "grouping": state.grouping.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "step": state.step,
        "seconds": state.seconds,
    }
    part = recipe.out / "state.part"
    torch.save(held, part)
    part.rename(recipe.out / "state.pt")
    save_file({k: v.contiguous() for k, v in state.mean.state_dict().items()}, recipe.out / "mean.part")
    (recipe.out / "mean.part").rename(recipe.out / "mean.safetensors")
    (recipe.out / "recipe.json").write_text(json.dumps(asdict(recipe), default=str, indent=1))
