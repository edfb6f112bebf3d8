"""A Qwen2.5-VL or Qwen3-VL checkpoint: found by path or hub id, loaded, and asked what it speaks.

Weights are safetensors and no code of a checkpoint is ever run. A file `rsagent.json` beside `config.json` may say
`{"dialect": "nano", "max_pixels": 82944, "factor": 32}`; what it leaves out follows from the architecture.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from rsagent import _torchvision
from rsagent.errors import CheckpointError
from rsagent.policy.files import DIALECTS, kind_of, locate, read_json, said_by, view_of
from rsagent.policy.protocol import ViewSpec
from rsagent.policy.settings import LocalPolicySettings


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A model with what belongs to it. `model` is a `Qwen…ForConditionalGeneration`, `tokenizer` a fast one."""

    name: str
    dialect: str
    view: ViewSpec
    model: Any
    tokenizer: Any
    image_processor: Any

    @property
    def end_ids(self) -> frozenset[int]:
        """The tokens that end a turn."""
        generation = self.model.generation_config.eos_token_id
        several = generation if isinstance(generation, list) else [generation]
        ends = {*several, self.tokenizer.eos_token_id, self.tokenizer.convert_tokens_to_ids("<|im_end|>")}
        return frozenset(end for end in ends if isinstance(end, int) and end != self.tokenizer.unk_token_id)


def load(settings: LocalPolicySettings) -> Checkpoint:
    """Load what `settings.checkpoint` names. Raises CheckpointError, whose message names the fix."""
    directory = locate(settings.checkpoint, settings.revision)
    kind_of(directory, settings.checkpoint)
    device = _device(settings.device)
    model = _model(directory, _dtype(settings, device), settings.checkpoint).to(device).eval()
    return bundle(model, directory, settings.checkpoint, settings.max_pixels)


def bundle(model: Any, directory: Path, name: str, max_pixels: int) -> Checkpoint:
    """A model in memory with the tokenizer, image processor and `rsagent.json` of `directory`."""
    _torchvision.prepare()
    from transformers import AutoImageProcessor, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(directory)
        processor = AutoImageProcessor.from_pretrained(directory)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{name!r} lacks a tokenizer or an image processor; save them beside it") from error
    tokenizer.chat_template = tokenizer.chat_template or _legacy_template(directory, name)
    said = said_by(directory)
    view = _view(processor, said, max_pixels)
    return Checkpoint(name, said.get("dialect", DIALECTS[model.config.model_type]), view, model, tokenizer, processor)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise CheckpointError(f"no device {name!r}; use 'auto', 'cpu' or 'cuda'") from error


def _dtype(settings: LocalPolicySettings, device: torch.device) -> str:
    if settings.dtype != "auto":
        return settings.dtype
    return "float32" if device.type == "cpu" else "auto"


def _model(directory: Path, dtype: str, name: str) -> Any:
    """The model on the CPU, every weight of it read from the files: transformers would only warn and fill in noise."""
    _torchvision.prepare()
    from transformers import AutoModelForImageTextToText
    from transformers.utils.logging import disable_progress_bar

    factory: Any = AutoModelForImageTextToText
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model, report = factory.from_pretrained(
            directory, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{name!r} does not load: it needs whole *.safetensors that fit config.json") from error
    lacking = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if lacking:
        raise CheckpointError(f"{name!r} lacks {len(lacking)} weights, {lacking[0]} among them; save the whole model")
    if "sliding_attention" in (getattr(model.config.text_config, "layer_types", None) or ()):
        raise CheckpointError(f"{name!r} uses sliding-window attention, which is not supported; serve it with vLLM")
    return model


def _view(processor: Any, said: dict[str, Any], max_pixels: int) -> ViewSpec:
    return view_of(
        said,
        max_pixels,
        factor=processor.patch_size * processor.merge_size,
        longest=processor.size["longest_edge"],
        shortest=processor.size["shortest_edge"],
    )


def _legacy_template(directory: Path, name: str) -> str:
    path = directory / "chat_template.json"
    template = read_json(path).get("chat_template") if path.exists() else None
    if not isinstance(template, str):
        raise CheckpointError(f"{name!r} has no chat template; add chat_template.jinja to it")
    return template
