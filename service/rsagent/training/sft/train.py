"""The stage: transformers' Trainer over passages, so that its checkpoints, schedules, accumulation, mixed precision,
gradient checkpointing, FSDP and DeepSpeed are all there. Ours are only the tokens and what of them is learned."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rsagent.policy.checkpoint import Checkpoint, bundle, load
from rsagent.policy.files import kind_of, locate
from rsagent.policy.settings import LocalPolicySettings
from rsagent.training.chat.adapting import Part, adapt
from rsagent.training.chat.saving import export
from rsagent.training.sft.batches import Collator
from rsagent.training.sft.conversations import Passages, check_dialect
from rsagent.training.sft.curves import draw
from rsagent.training.synthesis import records
from rsagent.training.synthesis.records import TrajectoriesMissing, Trajectory


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run goes. `more` are further TrainingArguments of transformers, which win over what is set here; `without`
    names shapes of trajectories (`meta.shape`) to leave out."""

    epochs: float = 1.0
    steps: int = -1
    batch: int = 8
    accumulate: int = 1
    lr: float = 1e-5
    warm: float = 0.03
    part: Part = "all"
    rank: int = 16
    held_out: int = 64
    seed: int = 0
    save: int = 200
    more: Mapping[str, Any] = field(default_factory=dict)
    without: Sequence[str] = ()


def beginning(name: str, device: str, *, scratch: bool, dtype: str = "auto") -> tuple[Checkpoint, Path]:
    """The checkpoint to train and its directory; from `scratch` only its config, tokenizer and processor are used."""
    directory = locate(name)
    settings: Any = {"checkpoint": name, "device": device, "dtype": dtype}
    if not scratch:
        return load(LocalPolicySettings(**settings)), directory
    from transformers import AutoConfig, AutoModelForImageTextToText

    kind_of(directory, name)
    factory: Any = AutoModelForImageTextToText
    model = factory.from_config(AutoConfig.from_pretrained(directory)).float()
    return bundle(model, directory, name, LocalPolicySettings().max_pixels), directory


def taught(lessons: Iterable[Trajectory], without: Sequence[str]) -> list[Trajectory]:
    """The trajectories whose shape is not one of `without`. Raises TrajectoriesMissing where none is left."""
    kept = [lesson for lesson in lessons if lesson.meta.shape not in without]
    if not kept:
        raise TrajectoriesMissing(f"no trajectory is left without {', '.join(without)}: leave out fewer shapes")
    return kept


def train(checkpoint: Checkpoint, source: Path, data: Path, folder: Path, plan: Plan) -> dict[str, float]:
    """Train on the trajectories in `data`; leaves Trainer's checkpoints (from which it resumes), `curves.png` and an
    `export` directory in `folder`. The last figures. Raises TrajectoriesMissing and CheckpointError."""
    from transformers import Trainer
    from transformers.trainer_utils import get_last_checkpoint

    lessons = taught(records.read(data), plan.without)
    check_dialect(lessons, checkpoint)
    random.Random(plan.seed).shuffle(lessons)
    held = min(plan.held_out, len(lessons) // 5)
    model = adapt(checkpoint.model, plan.part, plan.rank)
    trainer: Any = Trainer(
        model=model,
        args=_arguments(plan, folder, held > 0, str(checkpoint.model.device)),
        data_collator=Collator(checkpoint),
        train_dataset=Passages(data, lessons[held:], checkpoint),
        eval_dataset=Passages(data, lessons[:held], checkpoint) if held else None,
    )
    folder.mkdir(parents=True, exist_ok=True)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(folder)))  # type: ignore[no-untyped-call]
    last: dict[str, float] = trainer.evaluate() if held else {}
    if trainer.is_world_process_zero():
        export(trainer.accelerator.unwrap_model(trainer.model), source, folder / "export")
        draw(trainer.state.log_history, folder / "curves.png")
    return last


def _arguments(plan: Plan, folder: Path, evaluated: bool, device: str) -> Any:
    from transformers import TrainingArguments

    gpu = not device.startswith("cpu")
    chosen: dict[str, Any] = {
        "output_dir": str(folder),
        "num_train_epochs": plan.epochs,
        "max_steps": plan.steps,
        "per_device_train_batch_size": plan.batch,
        "per_device_eval_batch_size": plan.batch,
        "gradient_accumulation_steps": plan.accumulate,
        "learning_rate": plan.lr,
        "warmup_steps": plan.warm,
        "lr_scheduler_type": "cosine",
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "logging_steps": 10,
        "save_steps": plan.save,
        "save_total_limit": 2,
        "eval_strategy": "steps" if evaluated else "no",
        "eval_steps": plan.save,
        "prediction_loss_only": True,
        "report_to": ["tensorboard"],
        "seed": plan.seed,
        "use_cpu": not gpu,
        "bf16": gpu,
        "activation_checkpointing": gpu,
        "dataloader_num_workers": 4 if gpu else 0,
        "dataloader_pin_memory": gpu,
        "remove_unused_columns": False,
        "label_names": ["labels"],
    }
    return TrainingArguments(**{**chosen, **plan.more})


def parts(words: Sequence[str]) -> dict[str, Any]:
    """`NAME=VALUE` words as TrainingArguments, numbers and truth values read as such. Raises ValueError."""
    import json

    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"{word!r} is not NAME=VALUE")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
