"""Stage A, the tower alone: what is under each patch and token, and where it ends. No language yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from rsagent.agent.render import tint
from rsagent.training.policy.album import Album, Batch
from rsagent.training.policy.dense import DenseHeads, dense_losses, probe, smooth_features, targets_of
from rsagent.training.policy.optimise import Optimiser, factor_at, mixed
from rsagent.training.policy.run import Run
from rsagent.training.policy.shape import PATCH, VISION
from rsagent.training.policy.together import SEEDS, alike, rank
from rsagent.training.policy.tower import encode, patchify

SETTLED = 300
WEIGHTS = {"patch": 1.0, "cell": 1.0, "box": 0.4, "tint": 1.0, "reach": 4.0}


@dataclass(frozen=True)
class VisionPlan:
    """How stage A goes. `lr` is the peak rate; `tinted` the share of scenes in which one object wears a mask."""

    minutes: float = 30.0
    batch: int = 4
    lr: float = 6e-4
    tinted: float = 0.3
    crowded: float = 0.8
    seed: int = 0
    report: int = 100
    device: str = "cpu"


def weighed(losses: Mapping[str, Tensor]) -> Tensor:
    """The sum of the dense losses by their `WEIGHTS`."""
    return torch.stack([WEIGHTS[key] * loss for key, loss in losses.items()]).sum()


def jitter(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Brightness and contrast of each picture changed a little."""
    scale = rng.uniform(0.8, 1.2, (len(images), 1, 1, 3)).astype(np.float32)
    shift = rng.uniform(-16, 16, (len(images), 1, 1, 1)).astype(np.float32)
    return (images * scale + shift).clip(0, 255).astype(np.uint8)


def wear(batch: Batch, share: float, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw one object's mask, in the episode's own way, over a `share` of the pictures: (images, object or -1)."""
    images, worn = batch.images.copy(), np.full(len(batch.images), -1, np.int64)
    for row in range(len(images)):
        count = int((batch.names[row] >= 0).sum())
        if count and rng.random() < share:
            worn[row] = rng.integers(count)
            images[row] = tint(images[row], batch.owner[row] == worn[row] + 1)
    return images, worn


@torch.no_grad()
def prepare(visual: Any, album: Album) -> None:
    """Start where order is known: patch kernels along the principal components of patches, smooth positions."""
    batch = next(album.batches(64, seed=1))
    patches = patchify(torch.from_numpy(batch.images)).flatten(0, 1)
    scale, axes = torch.linalg.eigh(torch.cov(patches.T))
    keep = axes[:, -VISION:].T / scale[-VISION:, None].clamp_min(1e-3).sqrt() * 0.5
    weight = visual.patch_embed.proj.weight
    weight.copy_((keep / weight.shape[2]).view(VISION, 3, 1, PATCH, PATCH).expand_as(weight))
    visual.patch_embed.proj.bias.copy_(-(keep @ patches.mean(0)))
    side = visual.num_grid_per_side
    line = smooth_features(torch.linspace(0, 999, side), VISION // 2) * 0.3
    grid = torch.cat([line[:, None].expand(side, side, -1), line[None].expand(side, side, -1)], -1)
    visual.pos_embed.weight.copy_(grid.reshape(side * side, -1))
    for merger in visual.deepstack_merger_list:
        nn.init.zeros_(merger.linear_fc2.weight)


NEIGHBOURS = (
    ((0, -1), (0, 1), (-1, 0)),
    ((1, 0), (-1, 0), (0, 1)),
    ((0, -2), (0, 2), (1, 0)),
    ((2, 0), (-2, 0), (0, -1)),
)
FOCUS = (4.9, 4.9, 3.5, 3.5)
WAVES = 6


@torch.no_grad()
def look_around(visual: Any) -> None:
    """Start the first blocks' heads as looks at fixed neighbours, as a convolution has them.

    Rotary positions turn constant parts of query and key into a preference for an offset: with the query's bias at
    angle 0 and the key's at angle wave x offset, the score of a pair is the sum of cos(wave (distance - offset)).
    """
    waves = visual.rotary_pos_emb.inv_freq
    for block in visual.blocks:
        for linear in (block.attn.qkv, block.attn.proj, block.mlp.linear_fc1, block.mlp.linear_fc2):
            last = linear in (block.attn.proj, block.mlp.linear_fc2)
            nn.init.normal_(linear.weight, std=linear.weight.shape[1] ** -0.5 * (0.4 if last else 1.0))
        block.attn.qkv.weight[: 2 * VISION] *= 0.5
    for block, offsets, focus in zip(visual.blocks, NEIGHBOURS, FOCUS, strict=False):
        bias = block.attn.qkv.bias.view(3, len(offsets), 4, -1)  # query, key, value; head; halves x (row, column); wave
        bias.zero_()
        for head, (down, across) in enumerate(offsets):
            for axis, offset in ((0, down), (1, across)):
                bias[0, head, axis, :WAVES] = focus
                bias[1, head, axis, :WAVES] = focus * torch.cos(waves[:WAVES] * offset)
                bias[1, head, axis + 2, :WAVES] = focus * torch.sin(-waves[:WAVES] * offset)


class VisionTrainer:
    """The tower, its heads, their optimiser, and the data."""

    def __init__(self, visual: Any, plan: VisionPlan, train: Album, val: Album) -> None:
        self.visual, self.plan, self.val = visual.to(plan.device), plan, val
        self.heads = DenseHeads(len(train.names)).to(plan.device)
        used = nn.ModuleDict({"visual": visual, "heads": self.heads})
        visual.deepstack_merger_list.requires_grad_(False)
        self.optimiser = Optimiser(used, plan.lr)
        self.train = train
        self.restart(0)

    def restart(self, step: int) -> None:
        """Draw data as a run does that has come to `step`; each process draws its own."""
        seed = self.plan.seed + step + SEEDS * rank()
        self.batches = self.train.batches(self.plan.batch, seed, self.plan.crowded)
        self.rng = np.random.default_rng(seed)

    def losses(self, batch: Batch, images: NDArray[np.uint8], worn: NDArray[np.int64]) -> tuple[dict[str, Tensor], Any]:
        device = self.plan.device
        targets = targets_of(batch, device)
        with mixed(device):
            seen = encode(self.visual, torch.from_numpy(images).to(device), deepstack=False)
            losses = dense_losses(self.heads, seen, targets, torch.from_numpy(worn).to(device))
            return losses, (seen, targets)

    def step(self, factor: float) -> dict[str, float]:
        batch = next(self.batches)
        images, worn = wear(batch, self.plan.tinted, self.rng)
        losses, _ = self.losses(batch, jitter(images, self.rng), worn)
        weighed(losses).backward()  # type: ignore[no-untyped-call]
        return {key: loss.item() for key, loss in losses.items()} | {"norm": self.optimiser.step(factor)}

    @torch.no_grad()
    def validate(self, batches: int = 16) -> dict[str, float]:
        """Mean probe figures over held-out scenes (other backgrounds)."""
        rows = self.val.batches(16, seed=5)
        figures = []
        for _ in range(batches):
            batch = next(rows)
            _, (seen, targets) = self.losses(batch, batch.images, np.full(len(batch.images), -1))
            figures.append(probe(self.heads, seen, targets))
        return {"val_" + key: float(np.mean([f[key] for f in figures])) for key in figures[0]}


def part_of(model: Mapping[str, Tensor], name: str = "model.visual.") -> dict[str, Tensor]:
    """The tower's share of a whole model's weights."""
    return {key.removeprefix(name): value for key, value in model.items() if key.startswith(name)}


def settle(visual: Any, heads: DenseHeads, album: Album, steps: int, batch: int = 8, lr: float = 3e-3) -> None:
    """Teach new heads what the tower, at rest, knows already: else they would teach it their ignorance."""
    adam, device = torch.optim.Adam(heads.parameters(), lr), next(heads.parameters()).device
    pages, rng = album.batches(batch, seed=11, crowded=0.5), np.random.default_rng(11)
    for step in range(steps):
        page = next(pages)
        images, worn = wear(page, 0.3, rng)
        with mixed(str(device)):
            with torch.no_grad():
                seen = encode(visual, torch.from_numpy(images).to(device), deepstack=False)
            losses = dense_losses(heads, seen, targets_of(page, device), torch.from_numpy(worn).to(device))
        loss = weighed(losses)
        loss.backward()  # type: ignore[no-untyped-call]
        adam.param_groups[0]["lr"] = lr * (1 - step / steps)
        adam.step()
        adam.zero_grad()
        if step % 50 == 0:
            print(f"heads {step} dense {loss.item():.2f}", flush=True)


def train_vision(visual: Any, plan: VisionPlan, album: Path, folder: Path, start: Path | None = None) -> None:
    """Run stage A in `folder` (resumes from its checkpoint, else begins with the weights of `start`: a checkpoint of
    stage A or B, or an exported directory, which has no heads any more); leaves `vision.pt` with tower and heads."""
    train = Album(album / "train")
    trainer = VisionTrainer(visual, plan, train, Album(album / "val"))
    run = Run(folder, "vision", plan.minutes)
    if state := run.resume():
        visual.load_state_dict(state["visual"])
        trainer.heads.load_state_dict(state["heads"])
        trainer.optimiser.load_state_dict(state["optimiser"])
        trainer.restart(run.step)
    elif start and start.is_dir():
        visual.load_state_dict(part_of(load_file(start / "model.safetensors")))
        settle(visual, trainer.heads, train, SETTLED)
    elif start:
        earlier = torch.load(start, weights_only=True)
        visual.load_state_dict(earlier["visual"] if "visual" in earlier else part_of(earlier["model"]))
        trainer.heads.load_state_dict(earlier["heads"])
    else:
        prepare(visual, train)
        look_around(visual)
    alike(visual)
    alike(trainer.heads)
    run.begin()
    last = run.progress >= 1
    while not last:
        run.note(trainer.step(factor_at(run.progress, run.step)))
        run.step += 1
        last = run.progress >= 1
        checked = run.step % (5 * plan.report) == 0 or last
        if run.step % plan.report == 0 or last:
            run.report(**(trainer.validate() if checked else {}))
        if checked:
            run.save(
                visual=visual.state_dict(), heads=trainer.heads.state_dict(), optimiser=trainer.optimiser.state_dict()
            )
